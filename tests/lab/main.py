# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's one entry: `python3 main.py appliance|sample|registry|boot ...`.

Run from here so that the lab's packages import each other without being installed.
"""
import importlib
import sys

TOOLS = {'appliance': 'appliance.build', 'sample': 'sample.build', 'registry': 'registry.control', 'boot': 'boot.harness'}

if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in TOOLS:
        sys.exit('usage: main.py %s ...' % '|'.join(TOOLS))
    sys.exit(importlib.import_module(TOOLS[sys.argv[1]]).main(sys.argv[2:]))
