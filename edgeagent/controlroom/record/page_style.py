"""How the page looks, on a screen and on paper. Colours have a contrast of 4.5 and more."""

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,"Segoe UI","Liberation Sans",Arial,sans-serif;color:#1b1b1b;background:#fff}
body{margin:0 auto;max-width:52rem;padding:1.5rem 1.2rem 3rem}
main+main{border-top:4px solid #1d4f7c;margin-top:3rem;padding-top:2rem;break-before:page}
.kicker{font-weight:600;color:#1d4f7c;margin:0}h1{font-size:1.9rem;line-height:1.2;margin:.1rem 0}
.when{margin:0 0 1rem;color:#444}.lead{font-size:1.15rem;max-width:44rem}
h2{font-size:1.15rem;margin:2.2rem 0 .5rem;padding-top:.7rem;border-top:2px solid #1d4f7c}
.tiles{display:grid;grid-template-columns:repeat(3,1fr);gap:.7rem;margin:1.4rem 0}
.tiles div{background:#eef3f8;padding:.6rem .9rem;display:flex;flex-direction:column-reverse}
.tiles dt{color:#333;font-size:.92rem}.tiles dd{margin:0;font-size:1.7rem;font-weight:650;line-height:1.25}
table{border-collapse:collapse;width:100%;margin:.4rem 0 1rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .8rem .35rem 0;border-bottom:1px solid #c9c9c9}
th{font-weight:600}tbody>tr>th[scope=row]{width:36%}.grid tbody>tr>th[scope=row]{width:auto}
thead th{border-bottom:2px solid #666}.sum td,.sum th{border-top:2px solid #666;font-weight:600}
caption{text-align:left;padding:.8rem 0 .3rem;color:#333}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code{font:.82em/1.4 ui-monospace,"Liberation Mono",monospace;overflow-wrap:anywhere}
.note{color:#444;font-size:.95rem}figure{margin:1rem 0}figcaption{font-weight:600}
figure svg{width:100%;height:auto;max-height:17rem}
.stop{background:#b3261e;color:#fff;padding:.8rem 1.1rem;margin:0 0 1rem}.stop ul{margin:.3rem 0 0}
.bad{color:#b3261e}
body.void::after{content:"NOT VERIFIED";position:fixed;inset:0;display:grid;place-items:center;
pointer-events:none;font:700 6rem system-ui,sans-serif;color:#b3261e;opacity:.12;transform:rotate(-28deg)}
@media(max-width:34rem){.tiles{grid-template-columns:1fr 1fr}}
@media print{body{padding:0;max-width:none;font-size:10.5pt}h2{break-after:avoid}
tr,figure,.tiles,.stop,.test{break-inside:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

TEST_STYLE = """
.test{background:#ffd84d;color:#1b1b1b;border:3px solid #1b1b1b;padding:.8rem 1.1rem;margin:0 0 1rem}
.test{position:sticky;top:0}
body.bench::before{content:"TEST";position:fixed;inset:0;display:grid;place-items:center;pointer-events:none;
font:700 11rem system-ui,sans-serif;color:#8a5a00;opacity:.09;transform:rotate(-28deg)}
"""
