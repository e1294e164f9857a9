"""Shows the figures that tests noted, as a table, and keeps them as one JSON document.

    figures.py LINES.jsonl... OUT.json

Files that are not there are of suites that measured nothing. What missed its bound has failed its test, unless it is
known to miss it, or is a time of a debug build.
"""

import json
import os
import sys

*lines, out = sys.argv[1:]
figures = []
for name in filter(os.path.exists, lines):
    with open(name, encoding='utf-8') as file:
        figures += [json.loads(line) for line in file]
with open(out, 'w', encoding='utf-8') as file:
    json.dump(figures, file, indent=2)
    file.write('\n')

rows = [(f['name'], f['value'], f.get('wanted', ''), 'yes' if f['holds'] else 'MISSED') for f in figures]
rows.insert(0, ('FIGURE', 'MEASURED', 'WANTED', 'HOLDS'))
widths = [max(len(row[column]) for row in rows) for column in range(4)]
print()
for row in rows:
    print('   '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
