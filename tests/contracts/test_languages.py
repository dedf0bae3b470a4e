"""Whatever a corpus or a person calls a language, it is one code inside; what is no language is refused with the right one."""

import pytest
from transformers.models.whisper.tokenization_whisper import LANGUAGES as WHISPERS
from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

from tasks.contracts.languages import EVERYWHERE, LANGUAGES, about, code_of, common_voice, fleurs, hub, name

# google/fleurs, fleurs.py. After a colon: the code, where it is not the configuration's first part.
FLEURS = """
af_za am_et ar_eg as_in ast_es az_az be_by bg_bg bn_in bs_ba ca_es ceb_ph ckb_iq cmn_hans_cn:zh cs_cz cy_gb da_dk de_de el_gr en_us
es_419 et_ee fa_ir ff_sn fi_fi fil_ph:tl fr_fr ga_ie gl_es gu_in ha_ng he_il hi_in hr_hr hu_hu hy_am id_id ig_ng is_is it_it ja_jp
jv_id:jw ka_ge kam_ke kea_cv kk_kz km_kh kn_in ko_kr ky_kg lb_lu lg_ug ln_cd lo_la lt_lt luo_ke lv_lv mi_nz mk_mk ml_in mn_mn mr_in
ms_my mt_mt my_mm nb_no:no ne_np nl_nl nso_za ny_mw oc_fr om_et or_in pa_in pl_pl ps_af pt_br ro_ro ru_ru sd_in sk_sk sl_si sn_zw
so_so sr_rs sv_se sw_ke ta_in te_in tg_tj th_th tr_tr uk_ua umb_ao ur_pk uz_uz vi_vn wo_sn xh_za yo_ng yue_hant_hk zu_za
"""
# common-voice/cv-dataset: the scripted speech of releases 1 to 24, of which 23 and 24 added most of the small ones; el-CY is spontaneous.
COMMON_VOICE = """
ab af am an ar as ast az ba bas be bg bn br ca ckb cnh cs cv cy da de dv dyu el en eo es et eu fa fi fr fy-NL ga-IE gl gn ha he hi hsb hu
hy-AM ia id ig is it ja ka kab kk kmr ko ky lg lij lo lt ltg lv mdf mhr mk ml mn mr mrj mt myv nan-tw nb-NO:no ne-NP nhi nl nn-NO nr
nso oc or os pa-IN pl ps pt quy rm-sursilv rm-vallader ro ru rup rw sah sat sc sd sk skr sl sq sr st sv-SE sw ta te tg th ti tig tk tn
tok tr ts tt tw ug uk ur uz ve vi vot xh yi yo yue zgh zh-CN zh-HK:yue zh-TW zu zza dsb gsw lzz el-CY
fub ajg ady tay bba ksf bfd bft bax beb abb bci bnm btv fue bsk bum bnn wes esu ncx zoc dag dml dar dmk dua bgp ebr eto ewo fan fmp gwt
gwc bbj gju ggg var mau ibb mvy ipk jqr kbd kls xka bsh xhe khw qvi plk bkm lss mxu ms gv mbo byv xmf bri nnh pcm hno gya oru pwn phl
qxp qva qxu qvl qxa qwa qxw qxt qws qux dru szy trv sei scl ss qup sva cux cut trw tvu tui bbl ush wbl pua yaq kw bag bce sco aln
"""


def listed(table: str) -> list[tuple[str, str]]:
    """Return each locale with the code that is expected of it."""
    rows = [row.partition(":") for row in table.split()]
    return [(locale, code or locale.replace("_", "-").split("-")[0]) for locale, _, code in rows]


def test_names_and_codes_are_whispers_in_the_order_of_its_tokens() -> None:
    assert LANGUAGES == tuple(WHISPERS) and len(EVERYWHERE) == 99 and "yue" not in EVERYWHERE
    assert {code: name(code).lower() for code in LANGUAGES} == WHISPERS


@pytest.mark.parametrize("change", [str.lower, str.upper, str.title])
def test_every_name_that_transformers_takes_is_taken_in_any_case(change) -> None:
    assert {written: code_of(change(written)) for written in TO_LANGUAGE_CODE} == TO_LANGUAGE_CODE
    assert {code: code_of(change(code)) for code in WHISPERS} == {code: code for code in WHISPERS}


@pytest.mark.parametrize("table", [FLEURS, COMMON_VOICE], ids=["fleurs", "common voice"])
def test_every_locale_of_a_corpus_is_one_language(table: str) -> None:
    assert {locale: code_of(locale) for locale, _ in listed(table)} == dict(listed(table))


def test_a_language_of_whisper_is_written_as_each_corpus_writes_it() -> None:
    configs, locales = dict(listed(FLEURS)), dict(listed(COMMON_VOICE))
    assert len(configs) == 102
    assert [fleurs(code) for code in configs.values()] == list(configs), "no two configurations are one language"
    assert {code for code in LANGUAGES if not fleurs(code)} == set("la br eu si sq yi fo ht tk nn sa bo mg tt haw ba su".split())
    for code in LANGUAGES:
        assert code_of(common_voice(code)) == code
        assert common_voice(code) in locales or code not in locales.values(), code


def test_no_two_languages_of_whisper_are_one_elsewhere() -> None:
    for written in (common_voice, hub, name):
        assert len({written(code) for code in LANGUAGES}) == len(LANGUAGES)


def test_the_hubs_code_is_isos() -> None:
    assert (hub("jw"), hub("sv"), hub("se")) == ("jv", "sv", "se")
    assert all(code_of(hub(code)) == code for code in LANGUAGES)


@pytest.mark.parametrize(("written", "code"), [
    ("swe", "sv"), ("sv-Latn-FI", "sv"), ("sr_Latn", "sr"), ("zh-Hant-TW", "zh"), ("ca-valencia", "ca"), (" Haitian  creole ", "ht"),
    ("iw", "he"), ("ger", "de"), ("deu", "de"), ("swh", "sw"), ("zsm_Latn", "ms"), ("nob", "no"), ("nno", "nn"), ("Norwegian", "no"),
    ("es-419", "es"), ("Bokmål", "no"), ("uk", "uk"), ("northern sami", "se"), ("gaa", "gaa"), ("gaa-GH", "gaa"),
])  # fmt: skip
def test_other_ways_to_write_a_language_are_understood(written: str, code: str) -> None:
    assert code_of(written) == code


@pytest.mark.parametrize(("written", "meant"), [
    ("dk", "Danish is da"), ("jp", "Japanese is ja"), ("cz", "Czech is cs"), ("gr", "Greek is el"), ("ua", "Ukrainian is uk"),
    ("cn", "Chinese is zh"), ("us", "English is en"), ("gb", "English is en"), ("jp-JP", "Japanese is ja"), ("svenska", "Swedish is sv"),
    ("deutsch", "German is de, Dutch is nl"), ("swdish", "Swedish is sv"), ("sv-SE-x", ""), ("sv SE", ""), ("sv-", ""), ("", ""),
    ("12", ""), ("s", ""), ("dk_dk", "Danish is da"), ("xx", ""), ("<|sv|>", ""),
])  # fmt: skip
def test_what_is_no_language_is_refused_with_the_one_that_was_meant(written: str, meant: str) -> None:
    with pytest.raises(ValueError, match=r"^not a language: ") as refusal:
        code_of(written)
    assert meant in str(refusal.value), refusal.value


@pytest.mark.parametrize(("code", "says"), [
    ("se", "se is Northern Sami; Swedish is sv"), ("kr", "kr is Kanuri; Korean is ko"), ("ee", "ee is Ewe; Estonian is et"),
    ("fy", "fy is Frisian"), ("gaa", "gaa is the language gaa"), ("sv", "sv is Swedish"),
])  # fmt: skip
def test_a_code_that_is_also_a_countrys_is_said_to_be_another_language(code: str, says: str) -> None:
    assert about(code) == says
