"""Who pays, for what, and how often it is fraud: the part of the world that no model sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

Array = np.ndarray[tuple[int], np.dtype[np.float64]]

NUMERIC = ("amount", "hour", "account_age_days", "distance_km", "n_payments_24h", "days_since_last")
CATEGORICAL = ("country", "device", "merchant_category", "card_type", "channel")
FEATURES = (*NUMERIC, *CATEGORICAL)
"""What the models see, in the order of the log's columns."""

COUNTRIES = {"DE": 0.32, "FR": 0.24, "NL": 0.18, "ES": 0.15, "PL": 0.11}
CARD_TYPES = {"debit": 0.58, "credit": 0.34, "prepaid": 0.08}
AGE_GROUPS = {"18-24": 0.14, "25-44": 0.40, "45-64": 0.31, "65+": 0.15}
SEXES = {"F": 0.51, "M": 0.49}
PREPAID_RISK = 0.8


@dataclass(frozen=True)
class Category:
    """A merchant category: its share of payments, amounts in EUR, share bought online, and log odds of fraud."""

    share: float
    weekend: float
    median: float
    spread: float
    online: float
    risk: float


CATEGORIES = {
    "groceries": Category(0.30, 1.1, 28, 0.7, 0.08, -1.0),
    "restaurants": Category(0.16, 1.5, 32, 0.6, 0.12, -0.6),
    "fuel": Category(0.10, 0.9, 55, 0.4, 0.00, -0.4),
    "pharmacy": Category(0.08, 0.6, 19, 0.6, 0.15, -0.8),
    "fashion": Category(0.12, 1.3, 60, 0.8, 0.55, 0.1),
    "electronics": Category(0.09, 1.1, 140, 1.0, 0.65, 0.7),
    "travel": Category(0.07, 0.8, 220, 1.0, 0.80, 0.5),
    "gaming": Category(0.08, 1.2, 15, 0.8, 0.97, 0.8),
}
WEEK = np.array([0.94, 0.95, 0.98, 1.02, 1.12, 1.17, 0.82])
"""Payments by weekday, Monday first, relative to the average day."""
DAYTIME = np.array([2, 1, 1, 1, 1, 2, 4, 8, 11, 12, 13, 15, 18, 16, 14, 14, 16, 19, 20, 18, 15, 11, 7, 4], float)
NIGHTLIFE = np.array([7, 6, 4, 3, 2, 1, 2, 3, 6, 10, 14, 16, 17, 16, 15, 15, 15, 16, 17, 18, 17, 15, 12, 10], float)


def customers(rng: np.random.Generator, count: int = 20_000) -> pl.DataFrame:
    """Customers, one a row; ``pace`` is how often each pays, ``weight`` how often such customers are met.

    ``lifetime`` and ``phase`` (days): after its lifetime an account is closed and another opened in its place, so
    that the accounts' ages look the same at any time.
    """
    country = _pick(rng, COUNTRIES, count)
    age_group = _pick(rng, AGE_GROUPS, count)
    pace = rng.gamma(1.5, 1.0, count) + 0.05
    lifetime = 150 + rng.gamma(2.0, 700.0, count)
    return pl.DataFrame(
        {
            "slot": np.arange(count),
            "country": country,
            "age_group": age_group,
            "sex": _pick(rng, SEXES, count),
            "card_type": _pick(rng, CARD_TYPES, count),
            "lifetime": lifetime,
            "phase": rng.random(count) * lifetime,
            "online": rng.normal(0.0, 0.6, count)
            + np.where(age_group == "18-24", 0.5, 0)
            - np.where(age_group == "65+", 0.6, 0),
            "pace": pace,
            "weight": pace,
        }
    )


def payments(people: pl.DataFrame, rng: np.random.Generator, day: int, weekday: int, count: int) -> pl.DataFrame:
    """``count`` payments of one day, in order of time, with the probability that each is fraud.

    Columns: ``second`` of the day, the features, age_group, sex, customer_id, card_number, fraud_probability.
    """
    weight = people["weight"].to_numpy()
    who = people[rng.choice(len(people), count, p=weight / weight.sum())]
    second = np.sort(_seconds(rng, weekday, count))
    hour = np.floor(second / 3600)
    names = np.array(list(CATEGORIES))
    shares = np.array([c.share * (c.weekend if weekday >= 5 else 1.0) for c in CATEGORIES.values()])
    category = rng.choice(len(names), count, p=shares / shares.sum())

    def of_category(key: str) -> Array:
        return np.array([getattr(c, key) for c in CATEGORIES.values()], float)[category]

    online_share = of_category("online")
    online = rng.random(count) < _logistic(_logit(np.clip(online_share, 1e-9, 0.99)) + who["online"].to_numpy())
    device = np.where(online, np.where(rng.random(count) < 0.62, "phone", "computer"), "terminal")
    log_ratio = of_category("spread") * rng.standard_normal(count)
    amount = np.maximum(np.round(of_category("median") * np.exp(log_ratio), 2), 0.5)
    lived = who["phase"].to_numpy() + day + 10_000
    account_age = np.floor(lived % who["lifetime"].to_numpy())
    generation = (lived // who["lifetime"].to_numpy()).astype(np.int64)
    far = np.where(online, 35.0, 5.0) * np.where(names[category] == "travel", 6.0, 1.0)
    distance = np.round(far * np.exp(1.1 * rng.standard_normal(count)), 1)
    no_distance = rng.random(count) < np.where(online, 0.06, 0.01)
    recent = rng.poisson(0.5 * who["pace"].to_numpy() * np.where(rng.random(count) < 0.04, 4.0, 1.0))
    since_last = np.round(rng.exponential(2.2 / (0.3 + who["pace"].to_numpy())), 2)
    no_history = (account_age < 3) | (rng.random(count) < 0.005)

    country = who["country"].to_numpy()
    card_type = who["card_type"].to_numpy()
    odds = (
        -6.55
        + 1.2 * of_category("risk")
        + 0.75 * np.clip(log_ratio, -2, 4)
        + 1.8 * (hour < 6)
        + 1.2 * online
        + 2.2 * np.exp(-account_age / 60)
        + 0.60 * np.log1p(distance / 50)
        + 1.0 * no_distance
        + 0.85 * np.clip(recent - 2, 0, 6)
        + PREPAID_RISK * (card_type == "prepaid")
        + 0.3 * (country == "ES")
        - 0.2 * (country == "DE")
        + 1.2 * ((device == "computer") & (names[category] == "electronics"))
        + 0.35 * rng.standard_normal(count)
    )
    slot = who["slot"].to_numpy()
    return (
        pl.DataFrame(
            {
                "second": second,
                "amount": amount,
                "hour": hour,
                "account_age_days": account_age,
                "distance_km": pl.Series(distance).set(pl.Series(no_distance), None),
                "n_payments_24h": recent.astype(np.float64),
                "days_since_last": pl.Series(since_last).set(pl.Series(no_history), None),
                "country": country,
                "device": device,
                "merchant_category": names[category],
                "card_type": card_type,
                "channel": np.where(online, "online", "in_store"),
                "age_group": who["age_group"],
                "sex": who["sex"],
                "customer_number": slot * 100 + generation % 100,
                "fraud_probability": _logistic(odds),
            }
        )
        .with_columns(
            pl.format("c{}", pl.col("customer_number").cast(pl.String).str.zfill(7)).alias("customer_id"),
            pl.format("4{}", (pl.col("customer_number") * 104_729 % 10**15).cast(pl.String).str.zfill(15)).alias(
                "card_number"
            ),
        )
        .drop("customer_number")
    )


def volume(rng: np.random.Generator, day: int, weekday: int, average: float) -> int:
    """Payments of a day: a weekly season, growth of 4 % a month, and noise."""
    noise = float(np.exp(0.03 * rng.standard_normal()))
    return max(1, round(average * float(WEEK[weekday]) * float(1.0013**day) * noise))


def _seconds(rng: np.random.Generator, weekday: int, count: int) -> Array:
    """Seconds of the day, with the weekend's later hours on Friday to Sunday."""
    profile = NIGHTLIFE if weekday >= 4 else DAYTIME
    return np.asarray(3600 * rng.choice(24, count, p=profile / profile.sum()) + 3600 * rng.random(count), float)


def _pick(rng: np.random.Generator, shares: dict[str, float], count: int) -> np.ndarray[tuple[int], np.dtype[np.str_]]:
    weights = np.array(list(shares.values()))
    return np.array(list(shares))[rng.choice(len(shares), count, p=weights / weights.sum())]


def _logistic(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _logit(p: Array) -> Array:
    return np.log(p / (1 - p))
