"""The little statistics that the tables need, exact where a tolerance hangs on it."""

import math


def incomplete_beta(a, b, x):
    """I_x(a, b), the regularised incomplete beta function (Lentz's continued fraction)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x)
                     + b * math.log1p(-x)) / a
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    fraction = d
    for m in range(1, 10_000):
        for numerator in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                          -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / ((1 + numerator * d) or tiny)
            c = (1 + numerator / c) or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-14:
            break
    return front * fraction


def beta_quantile(probability, a, b):
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        if incomplete_beta(a, b, middle) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def clopper_pearson(events, trials, confidence=0.999):
    """The exact two-sided interval of a probability from `events` in `trials`."""
    tail = (1 - confidence) / 2
    low = beta_quantile(tail, events, trials - events + 1) if events > 0 else 0.0
    high = beta_quantile(1 - tail, events + 1, trials - events) if events < trials else 1.0
    return low, high


def median(values):
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def mathis_bits_per_s(mss_bytes, rtt_s, loss):
    """What one Reno flow reaches at a loss rate (Mathis et al., 1997)."""
    return 8 * mss_bytes / rtt_s * math.sqrt(1.5 / loss)


def self_test():
    """Against published values and the closed form for 0 events."""
    # Clopper-Pearson 95 % for 10 of 100: 0.0490 to 0.1762 (e.g. R's binom.test).
    low, high = clopper_pearson(10, 100, 0.95)
    assert abs(low - 0.04900469) < 1e-7 and abs(high - 0.17622260) < 1e-7, (low, high)
    low, high = clopper_pearson(0, 1000, 0.999)
    assert low == 0 and abs(high - (1 - 0.0005 ** (1 / 1000))) < 1e-12, high
    # A large case: the normal approximation must be near.
    low, high = clopper_pearson(10_000, 10_000_000, 0.999)
    sigma = math.sqrt(1e-3 / 1e7)
    assert abs((high - low) / 2 / (3.2905 * sigma) - 1) < 0.01, (low, high)
    assert median([3, 1, 2]) == 2 and median([4, 1, 2, 3]) == 2.5
