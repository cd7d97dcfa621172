# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster's one entry: `python3 main.py up|down|build|...`, run from here so that the lab's packages are found."""
import importlib
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])
TOOLS = {'up': 'control', 'down': 'control', 'restart': 'control', 'build': 'build', 'namespace': 'namespace', 'push': 'images',
         'builder-image': 'builder_image', 'init': 'init'}

if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in TOOLS:
        sys.exit('usage: main.py %s ...' % '|'.join(TOOLS))
    sys.exit(importlib.import_module('cluster.' + TOOLS[sys.argv[1]]).main(sys.argv[1:]))
