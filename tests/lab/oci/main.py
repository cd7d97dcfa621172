# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The endpoint's one entry: `python3 main.py up|down|serve ...`.

The package is not named as its folder: with tests/lab on sys.path it would stand in the way of Oracle's own `oci`.
"""
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parent)
sys.path.append(str(Path(__file__).resolve().parents[1]))

if __name__ == '__main__':
    if len(sys.argv) < 2 or sys.argv[1] not in ('up', 'down', 'serve'):
        sys.exit('usage: main.py up|down|serve ...')
    from endpoint import control, serve
    sys.exit(serve.main(sys.argv[2:]) if sys.argv[1] == 'serve' else control.main(sys.argv[1:]))
