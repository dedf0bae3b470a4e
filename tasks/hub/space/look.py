"""How the page looks and moves: colours for light and dark, styles, and the little script that plays pieces and copies the text.

Fonts are those of the visitor's system: nothing is fetched from elsewhere.
"""

import gradio as gr

LIGHT = {"ink": "#1b2733", "soft": "#51606f", "paper": "#ffffff", "wash": "#f3f6f9", "line": "#d5dde5", "accent": "#0b6e99",
         "on": "#ffffff", "unsure": "#8a5a00", "doubtful": "#b3261e", "mark": "#ffe7a3", "marked": "#3d2e00"}  # fmt: skip
DARK = {"ink": "#e8eef4", "soft": "#a3b2c0", "paper": "#17202a", "wash": "#0f161d", "line": "#32404e", "accent": "#6cc6f0",
        "on": "#06202e", "unsure": "#f0c060", "doubtful": "#ff9c92", "mark": "#5b4a12", "marked": "#fff1c9"}  # fmt: skip
READ = [("ink", "paper"), ("ink", "wash"), ("soft", "paper"), ("soft", "wash"), ("accent", "paper"), ("accent", "wash"), ("on", "accent"),
        ("unsure", "paper"), ("doubtful", "paper"), ("marked", "mark")]  # which colour is read on which  # fmt: skip
STYLES = """
.gradio-container {max-width: 1180px !important; margin: auto !important; color: var(--ink); font-size: 16px}
header h1 {font-size: 1.9rem; line-height: 1.2; margin: 0 0 .3rem; letter-spacing: -.02em; overflow-wrap: anywhere; color: var(--ink)}
header p {font-size: 1.05rem; color: var(--soft); margin: 0; max-width: 60ch; overflow-wrap: anywhere} header strong {color: var(--ink)}
.top {align-items: flex-start; justify-content: space-between} .top > :first-child {flex: 1 1 20rem}
.gap.results, .results {gap: 14px !important} .results > :has(> .prose:empty) {display: none}
.switch {flex: 0 0 auto !important; min-width: 0 !important; width: auto !important; border: 0 !important;
  background: none !important; padding: 0 !important}
.switch .wrap {flex-wrap: nowrap; gap: .4rem} .switch label {padding: .25rem .6rem; font-size: .9rem}
.status {margin: 0; font-size: 1.05rem; color: var(--ink)} .status.empty {color: var(--soft); border-radius: 12px;
  border: 1.5px dashed var(--line); padding: 2.6rem 1.2rem; text-align: center}
.status.error {border-left: 4px solid var(--doubtful); padding: .6rem .9rem; background: var(--paper); border-radius: 6px}
.status small {color: var(--soft); font-size: .85rem; line-height: 1.3; display: inline-block}
progress {width: 100%; height: 8px; margin-top: 8px; border: 0; border-radius: 4px; overflow: hidden; background: var(--line)}
progress::-webkit-progress-bar {background: var(--line)} progress::-webkit-progress-value {background: var(--accent)}
progress::-moz-progress-bar {background: var(--accent)}
#player audio {width: 100%; height: 44px; display: block}
ol.pieces {list-style: none; margin: 0; padding: 0; border: 1px solid var(--line); border-radius: 12px; background: var(--paper)}
ol.pieces li {display: grid; grid-template-columns: 4.2rem 1fr auto; gap: .2rem .8rem; padding: .75rem 1rem; margin: 0;
  align-items: baseline}
ol.pieces.two li, .heads {grid-template-columns: 4.2rem 1fr 1fr 4rem} ol.pieces li + li {border-top: 1px solid var(--line)}
ol.pieces li.now {background: var(--wash)}
ol.pieces p {margin: 0; font-size: 1.15rem; line-height: 1.55; overflow-wrap: anywhere; color: var(--ink)}
ol.pieces p.base {color: var(--soft)}
.heads {display: grid; gap: .8rem; padding: 0 1rem .35rem; font-size: .85rem; color: var(--soft)}
.heads span:first-child {grid-column: 2} .heads span {overflow-wrap: anywhere} .heads small {font-size: 1em}
.unsure {text-decoration: underline 2px dotted var(--unsure); text-underline-offset: 4px}
.doubtful {text-decoration: underline 2px solid var(--doubtful); text-underline-offset: 4px}
.legend {font-size: .85rem; color: var(--soft); margin: .5rem 0 0} .legend u {text-decoration: underline 2px dotted var(--unsure)}
.legend b {font-weight: inherit; text-decoration: underline 2px solid var(--doubtful)}
.pieces mark {background: var(--mark); color: var(--marked); border-radius: 4px; padding: 0 3px}
.tag {font-size: .78rem; color: var(--accent); border: 1px solid var(--accent); border-radius: 999px; padding: 0 .5em; margin-left: .3em}
button.time, button.wrong, .files .file {font: inherit; font-size: .9rem; cursor: pointer; border-radius: 8px;
  border: 1px solid transparent; background: none; color: var(--accent); padding: .1rem .4rem;
  font-variant-numeric: tabular-nums; text-decoration: none}
button.time {text-align: left; margin-left: -.4rem} button.wrong {color: var(--soft); justify-self: end}
button.time:hover, button.wrong:hover {border-color: var(--line); color: var(--accent)}
.files {display: flex; flex-wrap: wrap; gap: .5rem} .files .file {border-color: var(--line); background: var(--paper); padding: .4rem .9rem}
.files .file:hover {border-color: var(--accent)} .files small {color: var(--soft); font-size: 1em}
:is(button.time, button.wrong, .files .file, audio):focus-visible {outline: 3px solid var(--accent); outline-offset: 2px}
#correction {border: 2px solid var(--accent); border-radius: 12px; background: var(--paper); padding: 1rem}
#correction h2 {font-size: 1.15rem; margin: 0 0 .3rem; color: var(--ink)} #correction p {margin: 0; color: var(--soft)}
#correction textarea {border: 1px solid var(--line); border-radius: 8px; padding: .5rem .7rem; font-size: 1.1rem}
#correction .form {border: 0; background: none; gap: .8rem; box-shadow: none} #correction .block {border: 0; padding: 0; background: none}
#correction label {font-size: .95rem} #correction input[type=checkbox], #compare input {border: 1.5px solid var(--soft)}
footer p {font-size: .85rem; color: var(--soft); margin: 0}
@media (max-width: 640px) {
  header h1 {font-size: 1.5rem}
  ol.pieces li, ol.pieces.two li {grid-template-columns: 3.4rem 1fr; padding: .7rem}
  ol.pieces p.base {grid-column: 2} .heads {display: none} button.wrong {grid-column: 2; justify-self: end}
  .top {flex-direction: column-reverse} .top > :first-child {flex: none} .top > .switch {align-self: flex-end}
}
@media (prefers-reduced-motion: reduce) {* {animation: none !important; transition: none !important}}
"""
SCRIPT = """<script>
let until = Infinity;
const sound = () => document.querySelector("#player audio");
document.addEventListener("click", event => {
  const piece = event.target.closest("[data-start]"), copy = event.target.closest("[data-copy]");
  if (piece && sound()) { until = +piece.dataset.end; sound().currentTime = +piece.dataset.start; sound().play(); }
  if (copy) {
    const lines = [...document.querySelectorAll("ol.pieces p.ours")].map(each => each.innerText);
    navigator.clipboard?.writeText(lines.join("\\n")).then(() => { copy.textContent = copy.dataset.copy; });
  }
});
document.addEventListener("timeupdate", event => {
  const at = event.target.currentTime;
  if (at >= until) { until = Infinity; event.target.pause(); }
  for (const each of document.querySelectorAll("ol.pieces li")) {
    const time = each.querySelector(".time");
    each.classList.toggle("now", at >= +time.dataset.start && at < +time.dataset.end && !event.target.paused);
  }
}, true);
</script>"""
HEADING = """
const speak = () => {
  const header = element.querySelector("header"), spoken = element.querySelector("[data-language]");
  if (!header) return;
  document.documentElement.lang = header.dataset.page;
  try { spoken.textContent = new Intl.DisplayNames([header.dataset.page], {type: "language"}).of(spoken.dataset.language); } catch {}
};
speak();
watch("value", speak);
"""
ASKING = """element.addEventListener("click", event => {
  const wrong = event.target.closest("[data-wrong]");
  if (wrong) trigger("click", {place: +wrong.dataset.wrong});
});"""

FOCUS = """() => {
  document.querySelector("#correction").scrollIntoView({block: "center"});
  document.querySelector("#text textarea").focus();
}"""


def css() -> str:
    """Return all styles."""
    colours = [f"{where} {{color-scheme: {scheme}; {'; '.join(f'--{name}: {value}' for name, value in colours.items())}}}"
               for where, scheme, colours in ((":root", "light", LIGHT), (".dark", "dark", DARK))]  # fmt: skip
    return "\n".join([*colours, STYLES])


def theme() -> gr.themes.Base:
    """Return Gradio's plain theme in our colours."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
    names = {
        "body_background_fill": "wash", "block_background_fill": "paper", "body_text_color": "ink", "body_text_color_subdued": "soft",
        "block_label_text_color": "soft", "block_title_text_color": "ink", "border_color_primary": "line", "block_border_color": "line",
        "button_primary_background_fill": "accent", "button_primary_background_fill_hover": "accent", "button_primary_text_color": "on",
        "input_background_fill": "paper", "checkbox_label_text_color": "ink",
    }  # fmt: skip
    colours = {key + end: f"var(--{name})" for key, name in names.items() for end in ("", "_dark")} | {"color_accent": "var(--accent)"}
    base = gr.themes.Base(primary_hue="sky", neutral_hue="slate", radius_size="lg", font=fonts, font_mono=["ui-monospace", "monospace"])
    return base.set(**colours)
