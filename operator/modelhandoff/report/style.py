"""The page's style: two palettes, one column, tables that become cards on a phone."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;
--page:#f6f7f8;--card:#fff;--ink:#1b1f24;--soft:#5a626c;--rule:#dfe3e7;--code:#eef1f4;
--good:#12703f;--good-bg:#e6f4ec;--bad:#b42318;--bad-bg:#fdecea;--wait:#805400;--wait-bg:#fdf3dc;
--accent:#2458c6;--other:#9aa5b1;--track:#eef1f4}
@media (prefers-color-scheme:dark){:root{
--page:#121418;--card:#1a1d22;--ink:#e6e8eb;--soft:#a2abb6;--rule:#2d333b;--code:#24292f;
--good:#5ecb8f;--good-bg:#14301f;--bad:#ff8a7d;--bad-bg:#3a1714;--wait:#e9b949;--wait-bg:#33270a;
--accent:#7ba7ff;--other:#69737f;--track:#252a31}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 24px 64px}
header{background:var(--card);border:1px solid var(--rule);border-left:6px solid var(--soft);
border-radius:10px;padding:20px 24px}
header.good{border-left-color:var(--good)}header.bad{border-left-color:var(--bad)}
header.wait{border-left-color:var(--wait)}
.about{margin:0 0 6px;color:var(--soft);font-size:14px;overflow-wrap:anywhere}
h1{margin:0;font-size:24px;line-height:1.3;overflow-wrap:anywhere}
.why{margin:10px 0 0;overflow-wrap:anywhere}
h2{margin:40px 0 12px;font-size:19px;line-height:1.3}
p,li{overflow-wrap:anywhere}
p{margin:10px 0}ul{margin:10px 0;padding-left:22px}li{margin:4px 0}
time{white-space:nowrap}
.quiet{color:var(--soft);font-size:14px}
code,pre{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
code{background:var(--code);border-radius:4px;padding:1px 5px;overflow-wrap:anywhere}
pre{margin:8px 0 16px;padding:12px 14px;background:var(--code);border-radius:8px;
white-space:pre-wrap;overflow-wrap:anywhere}
pre i{color:var(--soft)}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(230px,1fr));margin:14px 0;
background:var(--card);border:1px solid var(--rule);border-radius:10px;overflow:hidden}
dl div{padding:10px 16px;box-shadow:0 0 0 .5px var(--rule)}
dl .long{grid-column:1/-1}
dt{color:var(--soft);font-size:13px}dd{margin:2px 0 0;overflow-wrap:anywhere}
.scroll{overflow-x:auto;border:1px solid var(--rule);border-radius:10px;background:var(--card);
margin:10px 0}
table{border-collapse:collapse;width:100%;font-size:14.5px}
th{text-align:left;color:var(--soft);font-weight:500;font-size:13px}
th,td{padding:9px 14px;border-bottom:1px solid var(--rule);vertical-align:top}
tbody tr:last-child td{border-bottom:0}
td{overflow-wrap:anywhere}td:first-child{white-space:nowrap}
.many td:first-child{white-space:normal}.many td{min-width:92px}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
td.number{white-space:nowrap}
.many td:first-child{min-width:190px;color:var(--soft);font-size:13px}
.many td:first-child code{font-size:14px;color:var(--ink)}
tr.good td:first-child{box-shadow:inset 4px 0 var(--good)}
tr.bad td:first-child{box-shadow:inset 4px 0 var(--bad)}
tr.wait td:first-child{box-shadow:inset 4px 0 var(--wait)}
tr.bad td{background:var(--bad-bg)}tr.good td{background:var(--good-bg)}
.mark{font-weight:600;white-space:nowrap}
.mark.good{color:var(--good)}.mark.bad{color:var(--bad)}.mark.wait{color:var(--wait)}
figure{margin:10px 0;padding:16px 18px;background:var(--card);border:1px solid var(--rule);
border-radius:10px}
figcaption{font-weight:600;overflow-wrap:anywhere}
figure .quiet{margin:2px 0 10px}
svg{display:block;max-width:100%;height:auto}
.narrow{display:none}
svg text{font:12.5px system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;fill:var(--ink)}
svg .small{font-size:12px;fill:var(--soft);paint-order:stroke;stroke:var(--card);stroke-width:3px}
svg .strong{font-weight:600}
svg .grid{stroke:var(--rule)}svg .zero,svg .axis{stroke:var(--soft)}
svg .track{fill:var(--track)}
svg .harm{fill:var(--bad);opacity:.45}svg .safe{fill:var(--good);opacity:.45}
svg .harm.reached,svg .safe.reached{opacity:1}
svg .limit{stroke:var(--ink);stroke-width:2;opacity:1}
svg .area{fill:var(--accent);opacity:.14}
svg .weight{fill:none;stroke:var(--accent);stroke-width:2.5;stroke-linejoin:round}
svg .excluded{fill:var(--other);opacity:.28}
svg .decision{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 3}
svg .baseline{fill:var(--other)}svg .candidate{fill:var(--accent)}
@media (max-width:720px){
body{font-size:15.5px}main{padding:12px 12px 48px}header{padding:16px}
h1{font-size:20px}h2{margin-top:30px}
dl{grid-template-columns:1fr}
dl div{display:grid;grid-template-columns:104px 1fr;gap:8px;padding:7px 14px;align-items:baseline}
dd{margin:0}figure{padding:12px}
.wide{display:none}.narrow{display:block}
.stack,.stack tbody,.stack tr,.stack td{display:block;width:100%}
.stack thead{display:none}
.stack tr{padding:8px 14px;border-bottom:1px solid var(--rule)}
.stack tr:last-child{border-bottom:0}
.stack td{min-width:0}
.stack td,.stack td.number{display:grid;grid-template-columns:104px 1fr;gap:8px;padding:3px 0;
border:0;text-align:left;white-space:normal}
.stack td::before{content:attr(data-name);color:var(--soft);font-size:13px}
.stack td:first-child,.many td:first-child{display:block;min-width:0;font-weight:600;
font-size:15px;white-space:normal}
.stack td:first-child::before{content:none}
.stack tr.good td,.stack tr.bad td{background:none}
.stack tr.good td:first-child,.stack tr.bad td:first-child,.stack tr.wait td:first-child{
box-shadow:none}
.stack tr.good{background:var(--good-bg);box-shadow:inset 4px 0 var(--good)}
.stack tr.bad{background:var(--bad-bg);box-shadow:inset 4px 0 var(--bad)}
.stack tr.wait{box-shadow:inset 4px 0 var(--wait)}}
@media print{body{background:#fff}header,figure,.scroll{break-inside:avoid}}
""".strip()
