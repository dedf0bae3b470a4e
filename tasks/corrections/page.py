"""The page on which a person listens to the suspects: one at a time, with the keyboard alone if wanted. Opened by `viska audit`.

It is for the team: each clip's id stands on it, because that finds the clip in its corpus. No file is served: a sound travels inside the
page. What comes from a corpus is escaped.
"""

import base64
from collections.abc import Callable
from typing import Any

import gradio as gr
from markupsafe import Markup

from tasks.contracts.errors import ViskaError
from tasks.corrections.decisions import Verdict
from tasks.corrections.desk import Act, Desk
from tasks.corrections.suspects import differences

N_NEXT = 8  # suspects that are shown below, to choose from
DONE = {"accept": "right", "correct": "corrected", "drop": "dropped"}
CSS = """
.clip {border:1px solid var(--border-color-primary); border-radius:12px; padding:18px 22px; background:var(--background-fill-primary)}
.clip audio {width:100%; margin:12px 0} .clip dl {display:grid; grid-template-columns:7.5em 1fr; gap:8px 12px; margin:0}
.clip dt {opacity:.75} .clip dd {margin:0; font-size:1.3em; overflow-wrap:anywhere}
.clip .reasons {font-size:1em; margin:0; padding-left:1.1em} .clip .about {opacity:.75; overflow-wrap:anywhere}
.clip del {background:#fde2dd; color:#8c2411; text-decoration:underline dotted; border-radius:4px; padding:0 3px}
.clip ins {background:#d9efe1; color:#11603a; text-decoration:none; font-weight:600; border-radius:4px; padding:0 3px}
.bar {height:8px; border-radius:4px; background:var(--border-color-primary); overflow:hidden; margin-top:6px}
.bar div {height:100%; background:#0b6e99}
kbd {border:1px solid var(--border-color-primary); border-radius:4px; padding:0 5px; font-size:.85em}
"""
KEYS = """<script>
const keys = {a: "accept", d: "drop", s: "skip", u: "undo"};
document.addEventListener("keydown", event => {
  if (event.repeat) { if (event.target.closest("button")) event.preventDefault(); return; }  // a held key judges one clip, not all
  const typing = event.target.closest("input, textarea, [contenteditable]");
  const click = id => { document.getElementById(id)?.click(); event.preventDefault(); };
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { document.activeElement?.blur(); return click("correct"); }
  if (typing && event.key === "Escape") { event.target.blur(); return; }
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "c") { document.querySelector("#text textarea")?.focus(); event.preventDefault(); return; }
  if (event.key === "p") {
    const sound = document.querySelector(".clip audio");
    if (sound) { sound.currentTime = 0; sound.play(); } return;
  }
  if (keys[event.key]) click(keys[event.key]);
});
</script>"""
HELP = ("Keys: <kbd>p</kbd> play · <kbd>a</kbd> label is right · <kbd>c</kbd> edit, then <kbd>Ctrl</kbd>+<kbd>Enter</kbd> correct, "
        "<kbd>Esc</kbd> leave the text · <kbd>d</kbd> drop · <kbd>s</kbd> skip · <kbd>u</kbd> undo")  # fmt: skip


def build(desk: Desk) -> gr.Blocks:
    """Return the page for one desk."""

    def show(place: int | None) -> list[Any]:
        text = desk.suspects[place]["heard"] if place is not None else ""
        return [place, progress(desk), card(desk, place), text, "", upcoming(desk, place)]

    def open_page() -> list[Any]:
        desk.refresh()
        return show(desk.next())

    def decider(verdict: Verdict) -> Callable[..., list[Any]]:
        def decide(place: int | None, acts: list[Act], text: str, note: str) -> list[Any]:
            if place is None:
                raise gr.Error("All suspects are judged.")
            try:
                act = desk.decide(place, verdict, text, note)
            except ViskaError as error:
                raise gr.Error(str(error)) from error
            return [[*acts, act], *show(desk.next(place))]

        return decide

    def undo(place: int | None, acts: list[Act]) -> list[Any]:
        if not acts:
            raise gr.Error("Nothing to undo on this page.")
        desk.undo(acts[-1])
        return [acts[:-1], *show(acts[-1].place)]

    def choose(event: gr.SelectData) -> list[Any]:
        return show(int(event.row_value[0]) - 1)

    with gr.Blocks(title=f"Audit of {desk.name}", analytics_enabled=False) as page:
        place, acts = gr.State(None), gr.State([])
        gr.Markdown(f"# Is this label right?\nRecipe **{desk.name}**. Decisions are saved at once; its next `viska prepare` uses them.")
        bar = gr.HTML()
        clip = gr.HTML()
        text = gr.Textbox(
            label="What is said (used by Correct; filled with what the model heard)", lines=2, elem_id="text", interactive=True
        )
        note = gr.Textbox(label="Note (optional)", max_lines=1, max_length=1_000, interactive=True)
        with gr.Row():
            accept = gr.Button("Label is right", elem_id="accept")
            correct = gr.Button("Correct", variant="primary", elem_id="correct")
            drop = gr.Button("Drop the clip", variant="stop", elem_id="drop")
            skip = gr.Button("Skip", elem_id="skip")
            back = gr.Button("Undo the last", elem_id="undo")
        gr.HTML(HELP)
        table = gr.Dataframe(headers=["rank", "score", "label", "heard", "split"], interactive=False, wrap=True, label="Next (click a row)",
                             column_widths=["8%", "10%", "36%", "36%", "10%"])  # fmt: skip
        shown = [place, bar, clip, text, note, table]
        for button, verdict in ((accept, "accept"), (correct, "correct"), (drop, "drop")):
            button.click(decider(verdict), [place, acts, text, note], [acts, *shown], api_name=verdict)  # type: ignore[arg-type]
        skip.click(lambda place: show(desk.next(-1 if place is None else place)), place, shown, api_name="skip")
        back.click(undo, [place, acts], [acts, *shown], api_name="undo")
        table.select(choose, None, shown, api_name=False)
        page.load(open_page, None, shown, api_name="open")
    return page


def serve(desk: Desk, host: str, port: int | None) -> None:
    """Open the page on this machine and stay until interrupted."""
    build(desk).launch(server_name=host, server_port=port, share=False, footer_links=[], css=CSS, head=KEYS)


def progress(desk: Desk) -> Markup:
    """Return how far the work is."""
    counts = desk.counts()
    n_all, n_done = len(desk.suspects), len(desk.suspects) - counts[""]
    told = ", ".join(f"{counts[verdict]} {word}" for verdict, word in DONE.items())
    words = f"{n_done:,} of {n_all:,} suspects judged ({told}); {desk.n_clips:,} clips were heard"
    width = round(100 * n_done / n_all) if n_all else 100
    return Markup('<div role="status">{}</div><div class="bar" role="progressbar" aria-label="suspects judged" aria-valuenow="{}" '
                  'aria-valuemin="0" aria-valuemax="100"><div style="width:{}%"></div></div>').format(words, width, width)  # fmt: skip


def card(desk: Desk, place: int | None) -> Markup:
    """Return a suspect with its player, what label and model say, and why it is one."""
    if place is None:
        return Markup('<div class="clip">All suspects are judged. Run <code>viska prepare</code> to use what you decided.</div>')
    suspect = desk.suspects[place]
    label, heard = marked(suspect["label"], suspect["heard"])
    reasons = Markup("").join(Markup("<li>{}</li>").format(reason) for reason in suspect["reasons"])
    verdict = desk.verdict(place)
    judged = Markup("<p><strong>Judged already: {}.</strong> A new decision replaces that.</p>").format(DONE[verdict]) if verdict else ""
    rank = f"{place + 1} of {len(desk.suspects)}, score {suspect['score']:.2f}"
    about = " · ".join([rank, f"{suspect['seconds']:.1f} s", suspect["split"], suspect["id"]])
    return Markup('<div class="clip"><div class="about">{}</div>{}{}<dl><dt>Label</dt><dd>{}</dd><dt>Model heard</dt><dd>{}</dd>'
                  '<dt>Confidence</dt><dd>{:.2f}</dd><dt>Why</dt><dd><ul class="reasons">{}</ul></dd></dl></div>').format(
        about, judged, player(desk, place), label, heard, suspect["confidence"], reasons)  # fmt: skip


def player(desk: Desk, place: int) -> Markup:
    """Return a player with the sound in it; words instead if the sound is gone."""
    try:
        data = base64.b64encode(desk.sound(place)).decode()
    except ViskaError as error:
        return Markup("<p>{}</p>").format(error)
    return Markup('<audio controls autoplay aria-label="the recording" src="data:audio/flac;base64,{}"></audio>').format(data)


def marked(label: str, heard: str) -> tuple[Markup, Markup]:
    """Return label and hearing without case and punctuation; what differs is <del> in the one and <ins> in the other."""
    written, got = [], []
    for one, other in differences(label, heard):
        same = one == other
        written += [Markup("{}" if same else "<del>{}</del>").format(one)] if one else []
        got += [Markup("{}" if same else "<ins>{}</ins>").format(other)] if other else []
    nothing = Markup("<em>nothing</em>")
    return Markup(" ").join(written) or nothing, Markup(" ").join(got) or nothing


def upcoming(desk: Desk, place: int | None) -> list[list[Any]]:
    """Return the next suspects that nobody has judged, as rows of the table."""
    waiting = [each for each in desk.waiting() if place is None or each > place][:N_NEXT]
    return [[each + 1, f"{suspect['score']:.2f}", suspect["label"], suspect["heard"], suspect["split"]]
            for each in waiting if (suspect := desk.suspects[each])]  # fmt: skip
