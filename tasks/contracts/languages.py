"""Languages by the names that people, Whisper, Common Voice, FLEURS and the Hub have for them. Whisper's code is the one used inside.

`LANGUAGES` is in the order of Whisper's tokens: `<|en|>` follows `<|startoftranscript|>`. Sources: openai/whisper, `whisper/tokenizer.py`;
the configurations of google/fleurs; the locales of Common Voice's releases; ISO 639. What it must not do: say which languages have data.
"""

import re
from difflib import get_close_matches

_WHISPER = """
en:eng:english zh:zho:chinese de:deu:german es:spa:spanish ru:rus:russian ko:kor:korean fr:fra:french ja:jpn:japanese pt:por:portuguese
tr:tur:turkish pl:pol:polish ca:cat:catalan nl:nld:dutch ar:ara:arabic sv:swe:swedish it:ita:italian id:ind:indonesian hi:hin:hindi
fi:fin:finnish vi:vie:vietnamese he:heb:hebrew uk:ukr:ukrainian el:ell:greek ms:msa:malay cs:ces:czech ro:ron:romanian da:dan:danish
hu:hun:hungarian ta:tam:tamil no:nor:norwegian th:tha:thai ur:urd:urdu hr:hrv:croatian bg:bul:bulgarian lt:lit:lithuanian la:lat:latin
mi:mri:maori ml:mal:malayalam cy:cym:welsh sk:slk:slovak te:tel:telugu fa:fas:persian lv:lav:latvian bn:ben:bengali sr:srp:serbian
az:aze:azerbaijani sl:slv:slovenian kn:kan:kannada et:est:estonian mk:mkd:macedonian br:bre:breton eu:eus:basque is:isl:icelandic
hy:hye:armenian ne:nep:nepali mn:mon:mongolian bs:bos:bosnian kk:kaz:kazakh sq:sqi:albanian sw:swa:swahili gl:glg:galician
mr:mar:marathi pa:pan:punjabi si:sin:sinhala km:khm:khmer sn:sna:shona yo:yor:yoruba so:som:somali af:afr:afrikaans oc:oci:occitan
ka:kat:georgian be:bel:belarusian tg:tgk:tajik sd:snd:sindhi gu:guj:gujarati am:amh:amharic yi:yid:yiddish lo:lao:lao uz:uzb:uzbek
fo:fao:faroese ht:hat:haitian_creole ps:pus:pashto tk:tuk:turkmen nn:nno:nynorsk mt:mlt:maltese sa:san:sanskrit lb:ltz:luxembourgish
my:mya:myanmar bo:bod:tibetan tl:tgl:tagalog mg:mlg:malagasy as:asm:assamese tt:tat:tatar haw:haw:hawaiian ln:lin:lingala ha:hau:hausa
ba:bak:bashkir jw:jav:javanese su:sun:sundanese yue:yue:cantonese
"""
# Whisper does not know these. All that ISO 639-1 has besides, so that two letters that are in neither list are no language.
_OTHERS = """
aa:afar ab:abkhaz ae:avestan ak:akan an:aragonese av:avar ay:aymara bi:bislama bm:bambara ce:chechen ch:chamorro co:corsican cr:cree
cu:church_slavonic cv:chuvash dv:dhivehi dz:dzongkha ee:ewe eo:esperanto ff:fula fj:fijian fy:frisian ga:irish gd:scottish_gaelic
gn:guarani gv:manx ho:hiri_motu hz:herero ia:interlingua ie:interlingue ig:igbo ii:nuosu ik:inupiaq io:ido iu:inuktitut kg:kongo
ki:kikuyu kj:kuanyama kl:greenlandic kr:kanuri ks:kashmiri ku:kurdish kv:komi kw:cornish ky:kyrgyz lg:ganda li:limburgish
lu:luba-katanga mh:marshallese na:nauruan nd:north_ndebele ng:ndonga nr:south_ndebele nv:navajo ny:nyanja oj:ojibwe om:oromo or:odia
os:ossetian pi:pali qu:quechua rm:romansh rn:rundi rw:kinyarwanda sc:sardinian se:northern_sami sg:sango sm:samoan ss:swazi
st:southern_sotho tn:tswana to:tongan ts:tsonga tw:twi ty:tahitian ti:tigrinya ug:uyghur ve:venda vo:volapük wa:walloon wo:wolof
xh:xhosa za:zhuang zu:zulu ast:asturian ceb:cebuano ckb:central_kurdish cnh:hakha_chin dsb:lower_sorbian fit:meänkieli fkv:kven
gsw:swiss_german hsb:upper_sorbian kab:kabyle kam:kamba kea:kabuverdianu kmr:northern_kurdish luo:luo myv:erzya nan:min_nan
nso:northern_sotho sah:sakha sco:scots sma:southern_sami smj:lule_sami smn:inari_sami sms:skolt_sami tok:toki_pona umb:umbundu
"""
_FLEURS = """
af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn cs_cz cy_gb da_dk de_de el_gr en_us es_419
et_ee fa_ir ff_sn fi_fi fil_ph fr_fr ga_ie gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id ig_ng is_is it_it ja_jp jv_id ka_ge
kam_ke kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd lo_la lt_lt luo_ke lv_lv mi_nz mk_mk ml_in mn_mn mr_in ms_my mt_mt my_mm
nb_no ne_np nl_nl nso_za ny_mw oc_fr om_et or_in pa_in pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw so_so sr_rs sv_se sw_ke
ta_in te_in tg_tj th_th tr_tr uk_ua umb_ao ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za
"""
# What is not the first part of a locale: Whisper's other names, ISO's older and bibliographic codes, and members of its macrolanguages.
_ALSO = """
burmese:my valencian:ca flemish:nl haitian:ht letzeburgesch:lb pushto:ps panjabi:pa moldavian:ro moldovan:ro sinhalese:si castilian:es
mandarin:zh bokmål:no iw:he ji:yi mo:ro jv:jw nb:no nob:no cmn:zh fil:tl alb:sq arm:hy baq:eu bur:my chi:zh cze:cs dut:nl fre:fr geo:ka
ger:de gre:el ice:is mac:mk mao:mi may:ms per:fa rum:ro slo:sk tib:bo wel:cy arb:ar azj:az ekk:et lvs:lv pes:fa prs:fa zsm:ms swh:sw
uzn:uz khk:mn npi:ne pbt:ps als:sq plt:mg ydd:yi
"""
# The same for whole locales: what Common Voice calls Chinese (Hong Kong) is read in Cantonese.
_LOCALES = {"zh-hk": "yue", "zh-mo": "yue"}
_COMMON_VOICE = {
    "sv": "sv-SE", "zh": "zh-CN", "pa": "pa-IN", "hy": "hy-AM", "ne": "ne-NP", "nn": "nn-NO", "no": "nb-NO", "jw": "jv", "fy": "fy-NL",
    "ga": "ga-IE",
}  # fmt: skip
_HUB = {"jw": "jv"}
_COUNTRIES = {"gb": ["en"], "at": ["de"], "tw": ["zh"], "al": ["sq"], "lk": ["si"]}  # besides those of FLEURS, or instead
_TAG = re.compile(r"([a-z]{2,3})(-[a-z]{4})?(-[a-z]{2}|-[0-9]{3})?(-[a-z0-9]{5,8})*")  # RFC 5646: language, script, region, variants

_ROWS = [row.split(":") for row in _WHISPER.split()]
_NAMES: dict[str, str] = {code: name.replace("_", " ") for code, _, name in _ROWS}
_UNKNOWN: dict[str, str] = {code: name.replace("_", " ") for code, name in (row.split(":") for row in _OTHERS.split())}
_CODES: dict[str, str] = {
    **{written: code for written, code in (row.split(":") for row in _ALSO.split())},
    **{written: code for code, iso, _ in _ROWS for written in (iso, _NAMES[code], code)},
    **{written: code for code, name in _UNKNOWN.items() for written in (name, code)},
}

LANGUAGES: tuple[str, ...] = tuple(_NAMES)
EVERYWHERE = LANGUAGES[:99]  # what each multilingual Whisper knows; large-v3 added Cantonese at the end


def code_of(written: str) -> str:
    """Return the code of a language that somebody wrote: Whisper's if it knows the language, else ISO 639's.

    Args:
        written: in either case, Whisper's code or English name (sv, Swedish), a locale of Common Voice (sv-SE) or of FLEURS (sv_se), a
            BCP 47 tag, or an ISO 639 code. Three letters that are in no list here are taken for the code of a small language.

    Raises:
        ValueError: if it is none of these; with what may have been meant.
    """
    word = " ".join(written.casefold().split())
    if word in _CODES:
        return _CODES[word]
    tag = word.replace("_", "-")
    found = _TAG.fullmatch(tag)
    if found and (found[1] in _CODES or len(found[1]) == 3):
        return _LOCALES.get(tag) or _CODES.get(found[1], found[1])
    beginning = [word[:2]] if len(word) > 3 and word[:2] in _NAMES else []  # codes come from a language's own name: svenska, deutsch
    alike = [_CODES[each] for each in get_close_matches(word, _CODES, cutoff=0.75)] if len(word) > 3 else []
    meant = _say([*_of_country(found[1] if found else word), *beginning, *alike])
    raise ValueError(f"not a language: {meant or 'expected a code such as sv, a name such as Swedish, or a locale such as sv-SE or sv_se'}")


def about(code: str) -> str:
    """Return what a code stands for, and what it does not if a country has it too: `se is Northern Sami; Swedish is sv`."""
    meant = _say([other for other in _of_country(code) if other != code])
    return f"{code} is {name(code)}{meant and '; '}{meant}"


def name(code: str) -> str:
    """Return a language's English name, or for a small language without one here `the language gaa`."""
    known = _NAMES.get(code) or _UNKNOWN.get(code)
    return known.title() if known else f"the language {code}"


def common_voice(code: str) -> str:
    """Return how Common Voice writes a language. Whether it has recordings differs between releases."""
    return _COMMON_VOICE.get(code, code)


def fleurs(code: str) -> str:
    """Return the configuration of FLEURS for a language; empty if it has none."""
    return next((config for config in _FLEURS.split() if code_of(config) == code), "")


def hub(code: str) -> str:
    """Return how the Hub, which wants ISO 639, writes a language."""
    return _HUB.get(code, code)


def _of_country(word: str) -> list[str]:
    """Return languages of the country with these two letters, which people take for a language's."""
    return _COUNTRIES.get(word) or [code_of(config) for config in _FLEURS.split() if config.endswith(f"_{word}") and len(word) == 2]


def _say(codes: list[str]) -> str:
    return ", ".join(f"{name(code)} is {code}" for code in list(dict.fromkeys(codes))[:3])
