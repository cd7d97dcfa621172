# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The builder image's fixed appliance (builder/appliance) made on this machine, where tests launch it in a quarter of the time of libguestfs' own."""
import argparse
import os
import shutil
import signal
import tempfile
from pathlib import Path

import common

BUILDER = Path(__file__).resolve().parents[3] / 'builder'
SOURCES = [BUILDER / name for name in ('appliance', 'appliance-init', 'trial.py')]


def folder():
    """The folder for LIBGUESTFS_PATH, made where the cache lacks it for this libguestfs."""
    common.need({'dpkg-query': 'dpkg', 'supermin': 'supermin', 'debugfs': 'e2fsprogs', 'setpriv': 'util-linux'})
    # an appliance is of its library's version
    versions = common.run(['dpkg-query', '--show', 'libguestfs0', 'supermin'])
    final = common.cache_dir() / 'appliance' / common.recipe_key(versions, *SOURCES)
    if not final.exists():
        if os.geteuid():
            raise common.LabError('the fixed appliance is made as root, which tries it out as an ordinary user')
        with common.lock('appliance'), common.workspace('appliance') as work:
            if not final.exists():
                common.say('appliance: making it, and trying it out')
                # it is tried by an ordinary user, for whom the cache may be out of reach
                with tempfile.TemporaryDirectory(dir='/var/tmp', prefix='ocne-lab-appliance.') as place:
                    os.chmod(place, 0o755)
                    common.run([BUILDER / 'appliance', Path(place, 'made')], stop=signal.SIGKILL)
                    shutil.copytree(Path(place, 'made'), work / 'made')
                common.publish(work / 'made', final)
    return final


def main(argv):
    """The command line: tests/lab/appliance/build"""
    parser = argparse.ArgumentParser(prog='build', description='Make the fixed appliance (cached) and print its folder, for LIBGUESTFS_PATH.')
    parser.parse_args(argv)
    return common.command_line(lambda: print(folder()))
