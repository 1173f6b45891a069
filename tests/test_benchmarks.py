"""Timing helpers by a clock of our own; made-up inputs by their properties. No test here depends on speed."""

import numpy as np
import pandas as pd
import pytest

from manifold_utils.inpca import InPCA
from manifold_utils.studies import timing
from manifold_utils.workers import machine, processor_name, thread_limit


def test_interleaved_takes_turns_and_reads_the_clock():
    calls, now = [], [0.0]

    def work(name, seconds):
        calls.append(name)
        now[0] += seconds

    functions = {"slow": lambda: work("slow", 4.0), "fast": lambda: work("fast", 0.5)}
    seconds = timing.interleaved(functions, repeats=3, clock=lambda: now[0])
    assert calls == ["slow", "fast"] * 4, "one unmeasured turn, then three measured ones"
    assert seconds.slow.tolist() == [4.0] * 3 and seconds.fast.tolist() == [0.5] * 3


def test_compare_divides_within_a_turn():
    seconds = pd.DataFrame({"usual": [2.0, 4.0, 8.0], "ours": [1.0, 1.0, 8.0]})
    table = timing.compare(seconds, "usual")
    assert table.loc["usual", ["times", "times_low", "times_high"]].tolist() == [1.0, 1.0, 1.0]
    assert table.loc["ours", ["seconds", "low", "high"]].tolist() == [1.0, 1.0, 8.0]
    assert table.loc["ours", ["times", "times_low", "times_high"]].tolist() == [2.0, 1.0, 4.0]


def test_growth_finds_a_power():
    sizes = np.array([10, 20, 50])
    assert np.allclose(timing.growth(sizes, 0.3 * sizes**1.7), (1.7, 0.3))
    with pytest.raises(ValueError, match="two sizes"):
        timing.growth([3], [1.0])


def test_peak_memory_sees_numpy_arrays_and_not_what_was_there_before():
    kept = np.ones(3_000_000)
    peak = timing.peak_memory(lambda: np.ones(1_000_000).sum())
    assert 8_000_000 <= peak < 9_000_000 and kept.sum() == 3_000_000


def test_flops_of_pairs_and_of_the_full_size():
    assert timing.pair_flops(10, 7, 3) == 2 * 7 * 3 * 50
    assert timing.pair_flops(10, 7, 3, m_other=4) == 2 * 7 * 3 * 40
    full = timing.full_size(timing.pair_flops(1000, 50, 10) / 3600, 1000, 50, 10)
    assert np.isclose(full["hours"], 1.0) and full["bytes_matrix"] == 4e6 and full["bytes_predictions"] == 2e6


def test_sgemm_rate_is_a_positive_number():
    assert np.isfinite(timing.sgemm_rate(repeats=1, side=64)) and timing.sgemm_rate(repeats=1, side=64) > 0


def test_sgemm_task_counts_its_flops():
    product, flops = timing.sgemm_task(side=8)
    assert flops == 1024 and product().shape == (8, 8) and (product() > 0).all()


def test_predictions_are_normalised_and_run_from_ignorance_to_truth():
    log_probs, labels = timing.predictions(12, 40, 5, np.random.default_rng(0))
    assert log_probs.dtype == np.float32 and log_probs.shape == (12, 40, 5)
    assert np.allclose(np.exp(log_probs.astype(float)).sum(axis=2), 1, atol=1e-6)
    assert np.allclose(log_probs[0], -np.log(5), atol=1e-6)
    loss = -log_probs[:, np.arange(40), labels].mean(axis=1)
    assert loss[-1] < 0.2 * loss[0]
    again, _ = timing.predictions(12, 40, 5, np.random.default_rng(0))
    assert np.array_equal(log_probs, again)


def test_distance_matrix_is_embeddable_with_both_signs():
    D = timing.distance_matrix(60, np.random.default_rng(0), n_axes=12)
    assert D.dtype == np.float32 and np.array_equal(D, D.T) and (np.diag(D) == 0).all()
    fit = InPCA(n_components=12).fit(D.astype(float))
    assert (fit.signature_ < 0).sum() == 3 and fit.explained_stress_[-1] > 1 - 1e-3


def test_threads_are_limited_and_given_back():
    import numba
    import threadpoolctl

    before = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()], numba.config.NUMBA_NUM_THREADS
    with thread_limit(1):
        assert all(pool["num_threads"] == 1 for pool in threadpoolctl.threadpool_info())
        assert numba.config.NUMBA_NUM_THREADS == 1
    after = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()], numba.config.NUMBA_NUM_THREADS
    assert after == before


def test_machine_names_no_host(tmp_path):
    import platform

    facts = machine()
    assert facts["cores"] >= 1 and platform.node() not in map(str, facts.values())
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert processor_name(str(info)) == "Some CPU @ 2 GHz"
