# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the end of a pod is told, by the status that a cluster gives it."""

from __future__ import annotations

import pytest

from ansible_collections.ocne.images.plugins.module_utils.builders.kubernetes import pod_life


def pod(deleted=None, terminated=None, **status):
    if terminated:
        status["containerStatuses"] = [{"name": "builder", "state": {"terminated": terminated}}]
    return {"metadata": {"name": "b-1", "deletionTimestamp": deleted}, "status": status}


EVICTING = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
FULL = 'Usage of EmptyDir volume "workspace" exceeds the limit "1Gi". '


@pytest.mark.parametrize("made, words", [
    (pod(phase="Running"), None),
    (pod(phase="Pending"), None),
    (pod(phase="Failed", terminated={"reason": "OOMKilled", "exitCode": 137}), "it ran out of memory (OOMKilled)"),
    (pod(phase="Failed", terminated={"reason": "Error", "exitCode": 64, "message": "the image lacks skopeo\n"}), "the image lacks skopeo"),
    (pod(phase="Failed", reason="Evicted", message=FULL), f"Evicted: {FULL.strip()}"),
    (pod(phase="Failed", reason="Evicted", message=FULL, terminated={"reason": "ContainerStatusUnknown", "exitCode": 137,
                                                                     "message": "The container could not be located when the pod was terminated"}),
     f"Evicted: {FULL.strip()}"),
    (pod(phase="Failed", terminated={"reason": "Error", "exitCode": 137}, conditions=[EVICTING]), "Eviction API: evicting"),
    (pod(phase="Running", deleted="2026-01-01T00:00:00Z", conditions=[EVICTING]), "Eviction API: evicting"),
    (pod(phase="Running", deleted="2026-01-01T00:00:00Z"), "it was removed"),
    (pod(phase="Succeeded", terminated={"reason": "Completed", "exitCode": 0}), "Completed (exit status 0)"),
])
def test_ending(made, words):
    assert pod_life.ending(made) == words


@pytest.mark.parametrize("why, words", [
    ("it ran out of memory (OOMKilled)", "pod_overrides: resources"),
    (f"Evicted: {FULL}", "larger workspace"),
    ("Evicted: Pod ephemeral local storage usage exceeds the total limit of containers 1Gi.", "ephemeral-storage"),
    ("Eviction API: evicting", "run the task again"),
])
def test_what_to_do_about_it(why, words):
    assert words in pod_life.after(why)
