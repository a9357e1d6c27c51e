"""The look of a page: light and dark by what the reader prefers, and on paper."""

STYLE = """
:root{--paper:#fff;--ink:#1b1f24;--soft:#57606a;--edge:#d0d7de;--card:#f6f8fa;--found:#b3261e;
--random:#8a6d1d;--clean:#1a6e3c;--band:#b3261e22}
@media (prefers-color-scheme:dark){:root{--paper:#14171a;--ink:#e6e9ec;--soft:#9aa4ae;
--edge:#363d44;--card:#1e2327;--found:#ff8a80;--random:#e3c15f;--clean:#6fcf8f;--band:#ff8a8022}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px;max-width:980px;background:var(--paper);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
h1{font-size:26px;margin:0}h2{font-size:19px;margin:36px 0 8px}p{margin:6px 0;max-width:76ch}
.soft,footer{color:var(--soft)}.cards{display:grid;gap:12px;margin:20px 0;
grid-template-columns:repeat(auto-fit,minmax(200px,1fr))}
.card{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:14px}
.card b{display:block;font-size:28px;line-height:1.2}
.card.plain b{font-size:18px}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-size:14px;margin:8px 0}
th,td{border-bottom:1px solid var(--edge);padding:4px 10px;text-align:right;white-space:nowrap}
th{color:var(--soft);font-weight:600}td.name,th.name{text-align:left;white-space:normal}
svg{width:100%;height:auto;max-width:720px;display:block}
svg text{font:13px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--edge)}polyline{fill:none;stroke-width:2}
polyline.found{stroke:var(--found)}polyline.random{stroke:var(--random)}
polyline.clean{stroke:var(--clean);stroke-dasharray:4 4}
circle.found,.bar-found{fill:var(--found)}circle.random,.bar-random{fill:var(--random)}
.bar-clean{fill:var(--clean)}.band{fill:var(--band)}
.key{display:inline-block;width:11px;height:11px;border-radius:2px;margin:0 5px 0 14px}
pre{white-space:pre-wrap;font-size:12px;background:var(--card);padding:10px;border-radius:6px}
.refused{border-left:4px solid var(--found);padding-left:12px}
footer{font-size:13px;margin-top:40px;border-top:1px solid var(--edge);padding-top:10px}
@media print{body{max-width:none;padding:0}h2{break-after:avoid}svg,.card,tr{break-inside:avoid}
.scroll{overflow:visible}}
"""
