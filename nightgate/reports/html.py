"""A document as one HTML file that needs no script and no network."""

from html import escape

from nightgate.reports import charts
from nightgate.reports.document import Bars, Callout, Document, Facts, Heading, Paragraph, Part, Plot, Side, Table

LIGHT = """:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--soft:#5b6570;--line:#d9dee4;--panel:#f5f7f9;
--s0:#1f6feb;--s1:#c2510a;--s2:#6b7682;--good:#116b34;--good-bg:#e6f5eb;--bad:#a3201d;--bad-bg:#fdebea;
--neutral:#3d4854;--neutral-bg:#eef1f4}"""

DRAWN = """svg text{fill:var(--soft);font-size:11px}svg .axis{font-size:12px}
.grid{stroke:var(--line);stroke-width:1}.rule{stroke:var(--soft);stroke-dasharray:4 4}
.line{fill:none;stroke-width:2}.bar{fill:var(--s0)}
.line.s0{stroke:var(--s0)}.line.s1{stroke:var(--s1)}.line.s2{stroke:var(--s2)}
.dot.s0{fill:var(--s0)}.dot.s1{fill:var(--s1)}.dot.s2{fill:var(--s2)}
svg .key.s0{fill:var(--s0)}svg .key.s1{fill:var(--s1)}svg .key.s2{fill:var(--s2)}"""

STYLE = LIGHT + """
@media (prefers-color-scheme:dark){:root{--ink:#e6eaee;--paper:#12161b;--soft:#9aa5b1;--line:#2f3841;--panel:#1a2027;
--s0:#6cb0ff;--s1:#ffa45c;--s2:#8b96a2;--good:#7fdca0;--good-bg:#12301e;--bad:#ff9d97;--bad-bg:#3a1716;
--neutral:#c4ccd4;--neutral-bg:#222a32}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;line-height:1.2;margin:0 0 4px}h2{font-size:18px;margin:34px 0 10px}
.subtitle{color:var(--soft);margin:0 0 20px}
.callout{border-left:5px solid;padding:14px 18px;border-radius:6px;margin:0 0 18px;white-space:pre-line}
.callout b{display:block;font-size:20px}
.callout b::first-letter{text-transform:uppercase}
.good{border-color:var(--good);background:var(--good-bg)}.good b{color:var(--good)}
.bad{border-color:var(--bad);background:var(--bad-bg)}.bad b{color:var(--bad)}
.neutral{border-color:var(--neutral);background:var(--neutral-bg)}.neutral b{color:var(--neutral)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px}
th,td{text-align:left;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);vertical-align:top}
th{color:var(--soft);font-weight:600}td{overflow-wrap:break-word;max-width:420px}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.marked td{font-weight:650}
dl{display:grid;grid-template-columns:minmax(110px,max-content) 1fr;gap:4px 18px;margin:0;font-size:14px}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:22px}
figure{margin:0;break-inside:avoid}figcaption{font-weight:600;margin-bottom:4px}
figcaption span{display:block;font-weight:400;color:var(--soft);font-size:13px}
svg{width:100%;height:auto;max-width:560px}
""" + DRAWN + """
@media (max-width:560px){.number{white-space:normal}table{font-size:13px}}
@media print{""" + LIGHT + """main{max-width:none;padding:0}h2{break-after:avoid}tr{break-inside:avoid}.side{grid-template-columns:1fr 1fr}}
"""


def html(document: Document) -> str:
    """Return the whole page."""
    body = "\n".join(map(_part, document.parts))
    return (f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(document.title)}</title>'
            f"<style>{STYLE}</style></head><body><main><h1>{escape(document.title)}</h1>"
            f'<p class="subtitle">{escape(document.subtitle)}</p>\n{body}\n</main></body></html>\n')


def drawings(document: Document) -> dict[str, str]:
    """Return the charts of a document by their titles, each an SVG file of its own."""
    parts = [each for part in document.parts for each in (part.parts if isinstance(part, Side) else [part])]
    found = {each.title: charts.plot(each) if isinstance(each, Plot) else charts.bars(each)
             for each in parts if isinstance(each, Plot | Bars)}
    return {title: drawing.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1).replace(">", f"><style>{LIGHT}{DRAWN}</style>", 1)
            for title, drawing in found.items()}


def _part(part: Part) -> str:
    match part:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Callout(title, text, tone):
            return f'<div class="callout {tone}"><b>{escape(title)}</b>{escape(text)}</div>'
        case Facts(pairs):
            return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in pairs) + "</dl>"
        case Table():
            return _table(part)
        case Plot():
            return _figure(part, charts.plot(part))
        case Bars():
            return _figure(part, charts.bars(part))
        case Side(parts):
            return '<div class="side">' + "".join(map(_part, parts)) + "</div>"


def _table(table: Table) -> str:
    kinds = [' class="number"' if name in table.numeric else "" for name in table.columns]
    head = "".join(f"<th{kind}>{escape(name)}</th>" for name, kind in zip(table.columns, kinds, strict=True))
    rows = []
    for number, row in enumerate(table.rows):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        rows.append(f'<tr class="marked">{cells}</tr>' if number in table.marked else f"<tr>{cells}</tr>")
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _figure(part: Plot | Bars, drawing: str) -> str:
    return f"<figure><figcaption>{escape(part.title)}<span>{escape(part.told)}</span></figcaption>{drawing}</figure>"
