"""The methods that ours is compared with, each causal and with the same readings; a slot without a reading scores 1e9.

Seasonal median/MAD, the residuals on the week before and on the mean of four weeks, LightGBM's residual, an isolation
forest, and a left matrix profile (our own small implementation: squared distances of day-long windows to earlier days,
z-normalised or not).
"""

from __future__ import annotations

import warnings

import numpy as np

from bench.anomalies_faults import WARM_UP_DAYS, Site

MISSING_SCORE = 1e9
REFIT_DAYS = 28


def _weeks_before(kwh: np.ndarray, *, per_week: int, weeks: int) -> np.ndarray:
    """Return [week, meter, slot]: the value so many weeks before; NaN before the beginning."""
    back = np.full((weeks, *kwh.shape), np.nan)
    for week in range(1, weeks + 1):
        back[week - 1, :, week * per_week :] = kwh[:, : -week * per_week]
    return back


def seasonal_median(site: Site) -> np.ndarray:
    """Score |x - median| / MAD over the same hour of the week in the eight weeks before."""
    back = _weeks_before(site.kwh, per_week=7 * site.slots_per_day, weeks=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        middle = np.nanmedian(back, axis=0)
        spread = np.nanmedian(np.abs(back - middle), axis=0)
        floor = 0.02 * np.nanmean(np.abs(middle), axis=1, keepdims=True)
    return _filled(np.abs(site.kwh - middle) / np.maximum(1.4826 * spread, floor), site)


def previous_week(site: Site) -> np.ndarray:
    """Score |x - x a week ago| by the meter's trailing four-week mean of the same."""
    week = 7 * site.slots_per_day
    residual = np.abs(site.kwh - _weeks_before(site.kwh, per_week=week, weeks=1)[0])
    return _filled(residual / _trailing_scale(residual, slots=4 * week), site)


def four_weeks(site: Site) -> np.ndarray:
    """Score |x - mean of the same hour of the week in the four weeks before| by the meter's trailing scale of it."""
    week = 7 * site.slots_per_day
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        profile = np.nanmean(_weeks_before(site.kwh, per_week=week, weeks=4), axis=0)
    residual = np.abs(site.kwh - profile)
    return _filled(residual / _trailing_scale(residual, slots=4 * week), site)


def _trailing_scale(residual: np.ndarray, *, slots: int) -> np.ndarray:
    """Return the median of the residuals of the trailing window up to each day's start, by meter."""
    scale = np.full(residual.shape, np.nan)
    step = slots // 28
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for begin in range(step, residual.shape[1], step):
            past = residual[:, max(0, begin - slots) : begin]
            scale[:, begin : begin + step] = np.maximum(np.nanmedian(past, axis=1), 1e-6)[:, None]
    return scale


def _filled(score: np.ndarray, site: Site) -> np.ndarray:
    score = np.where(np.isfinite(score), score, 0)
    return np.where(np.isfinite(site.kwh), score, MISSING_SCORE)


def _features(site: Site) -> np.ndarray:
    """Return [meter, slot, feature] from the day before and earlier, scaled by the trailing level, and calendar."""
    per_day = site.slots_per_day
    kwh = site.kwh
    level = _level(site)
    lags = []
    for days in (1, 2, 3, 7, 14, 21, 28):
        lag = np.full(kwh.shape, np.nan)
        lag[:, days * per_day :] = kwh[:, : -days * per_day]
        lags.append(lag / level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        lags.append(np.nanmean(np.stack(lags[3:7]), axis=0))
        lags.append(np.nanmean(np.stack(lags[:4]), axis=0))
    slot = np.arange(kwh.shape[1])
    hour = np.broadcast_to(slot % per_day, kwh.shape)
    weekday = np.broadcast_to((slot // per_day + site.first_utc.weekday()) % 7, kwh.shape)
    return np.stack([*lags, hour, weekday], axis=2)


def _level(site: Site) -> np.ndarray:
    """Return the mean of the 28 days before each day, by meter."""
    per_day = site.slots_per_day
    level = np.full(site.kwh.shape, np.nan)
    for day in range(1, site.kwh.shape[1] // per_day):
        past = site.kwh[:, max(0, day - 28) * per_day : day * per_day]
        known = np.isfinite(past)
        mean = np.where(known, past, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        level[:, day * per_day : (day + 1) * per_day] = np.maximum(np.abs(mean), 1e-6)[:, None]
    return level


def lightgbm_residual(site: Site) -> np.ndarray:
    """Score the residual of one LightGBM a site, refitted every four weeks on the past, by its trailing median."""
    import lightgbm

    features, level = _features(site), _level(site)
    target = site.kwh / level
    expected = np.full(target.shape, np.nan)
    step = REFIT_DAYS * site.slots_per_day
    settings = {
        "objective": "l1", "learning_rate": 0.08, "num_leaves": 63, "num_threads": 2, "verbose": -1, "seed": 0,
    }  # fmt: skip
    first = WARM_UP_DAYS // 2 * site.slots_per_day
    for begin in range(first, target.shape[1], step):
        rows = features[:, :begin].reshape(-1, features.shape[2])
        wanted = target[:, :begin].reshape(-1)
        good = np.isfinite(wanted) & (np.abs(wanted) < 10)
        picked = np.flatnonzero(good)
        picked = picked[:: max(1, len(picked) // 60_000)]
        model = lightgbm.train(settings, lightgbm.Dataset(rows[picked], wanted[picked]), num_boost_round=120)
        ahead = features[:, begin : begin + step]
        expected[:, begin : begin + step] = model.predict(ahead.reshape(-1, features.shape[2])).reshape(ahead.shape[:2])
    residual = np.abs(target - expected)
    return _filled(residual / _trailing_scale(residual, slots=28 * site.slots_per_day), site)


def isolation_forest(site: Site) -> np.ndarray:
    """Score by a forest a site over value, its differences and calendar, refitted on the past."""
    from sklearn.ensemble import IsolationForest

    per_day = site.slots_per_day
    scaled = np.nan_to_num(site.kwh / _level(site))
    columns = [scaled]
    for back in (1, per_day, 7 * per_day):
        before = np.zeros(scaled.shape)
        before[:, back:] = scaled[:, :-back]
        columns.append(scaled - before)
    slot = np.arange(scaled.shape[1])
    columns.append(np.broadcast_to(slot % per_day / per_day, scaled.shape))
    columns.append(np.broadcast_to((slot // per_day + site.first_utc.weekday()) % 7 >= 5, scaled.shape).astype(float))
    features = np.stack(columns, axis=2)
    score = np.zeros(scaled.shape)
    step = REFIT_DAYS * per_day
    for begin in range(WARM_UP_DAYS // 2 * per_day, scaled.shape[1], step):
        past = features[:, max(0, begin - 56 * per_day) : begin].reshape(-1, features.shape[2])
        forest = IsolationForest(n_estimators=100, random_state=0, n_jobs=1).fit(past[:: max(1, len(past) // 20_000)])
        ahead = features[:, begin : begin + step]
        score[:, begin : begin + step] = -forest.score_samples(ahead.reshape(-1, features.shape[2])).reshape(
            ahead.shape[:2]
        )
    return _filled(score, site)


def matrix_profile(site: Site, *, normalised: bool) -> np.ndarray:
    """Score each slot by the nearest earlier day-long window (56 days back) of the windows that end within its day."""
    per_hour = max(1, site.slots_per_day // 24)
    kwh = np.nan_to_num(site.kwh).reshape(len(site.kwh), -1, per_hour).sum(axis=2)
    length, back = 24, 56 * 24
    scores = np.zeros(kwh.shape)
    for meter, series in enumerate(kwh):
        windows = np.lib.stride_tricks.sliding_window_view(series, length).astype(np.float32)
        if normalised:
            windows = windows - windows.mean(axis=1, keepdims=True)
            windows = windows / np.maximum(np.linalg.norm(windows, axis=1, keepdims=True), 1e-6)
        else:
            windows = windows / max(np.median(np.abs(series[:back])) * np.sqrt(length), 1e-6)
        size = (windows**2).sum(axis=1)
        for begin in range(length, len(windows), 512):
            rows = slice(begin, min(begin + 512, len(windows)))
            first = max(0, begin - back)
            distance = (
                size[rows, None] + size[None, first : rows.stop] - 2 * windows[rows] @ windows[first : rows.stop].T
            )
            age = np.arange(rows.start, rows.stop)[:, None] - np.arange(first, rows.stop)[None, :]
            distance[(age < length) | (age > back)] = np.inf
            scores[meter, rows.start + length - 1 : rows.stop + length - 1] = distance.min(axis=1)
    scores = np.where(np.isfinite(scores), np.sqrt(np.maximum(scores, 0)), 0)
    by_day = scores[:, : scores.shape[1] // 24 * 24].reshape(len(scores), -1, 24)
    # A slot takes the window that began at it or, late in the day, the last one that ends by midnight.
    ended = np.repeat(by_day[:, :, -1:], 24, axis=2)
    return _filled(np.repeat(np.maximum(by_day, 0.9 * ended).reshape(scores.shape), per_hour, axis=1), site)


RIVALS = {
    "seasonal median/MAD": seasonal_median,
    "previous week": previous_week,
    "four-week profile": four_weeks,
    "LightGBM residual": lightgbm_residual,
    "isolation forest": isolation_forest,
    "matrix profile": lambda site: matrix_profile(site, normalised=True),
    "matrix profile, plain": lambda site: matrix_profile(site, normalised=False),
}
