"""The smallest character model: a vanilla recurrent network in plain NumPy, to be read in one sitting.

    h_t = tanh(Wxh x_t + Whh h_{t-1} + bh)        hidden state
    p_t = softmax(Why h_t + by)                   probability of each next character

It trains on 25 characters at a time by truncated backpropagation: the loss is the cross-entropy, -log p of the true
next character, the optimizer is Adagrad, and each sequence starts from the last state of the one before. After A.
Karpathy's "min-char-rnn" (2015), with its numbers: 100 units, clipping to [-5, 5], learning rate 0.1.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

UNITS, LENGTH, RATE, LIMIT = 100, 25, 0.1, 5.0


class MinChar:
    """The model: five arrays of weights, for a text of V distinct characters.

    Raises `ValueError` unless the text has more than LENGTH characters, two of them different.
    """

    def __init__(self, text: str, seed: int = 0, units: int = UNITS) -> None:
        if len(text) <= LENGTH or len(set(text)) < 2:
            raise ValueError(f"a text needs over {LENGTH} characters, two of them different")
        self.characters = sorted(set(text))
        self.ids = {character: i for i, character in enumerate(self.characters)}
        self.text = np.array([self.ids[character] for character in text])
        self.rng = np.random.default_rng(seed)
        V = len(self.characters)
        shapes = {"Wxh": (units, V), "Whh": (units, units), "Why": (V, units)}
        self.weights = {name: self.rng.normal(size=shape) * 0.01 for name, shape in shapes.items()}
        self.weights["bh"] = np.zeros(units)
        self.weights["by"] = np.zeros(V)

    def gradients(
        self, x: np.ndarray, y: np.ndarray, h: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
        """Summed loss in nats, its gradient for each weight, and the last state (units,).

        `x` and `y` (T,) are the ids of the characters and of their successors, `h` (units,) is the initial state.
        """
        w = self.weights
        # Forward: keep the states and probabilities for the backward pass.
        states, predicted, loss = [h], [], 0.0
        for t in range(len(x)):
            # A one-hot input selects a column of Wxh.
            h = np.tanh(w["Wxh"][:, x[t]] + w["Whh"] @ h + w["bh"])
            scores = w["Why"] @ h + w["by"]
            p = np.exp(scores - scores.max())
            p /= p.sum()
            loss -= np.log(p[y[t]])
            states.append(h)
            predicted.append(p)
        # Backward: from the last step to the first.
        d = {name: np.zeros_like(value) for name, value in w.items()}
        dh_next = np.zeros_like(h)  # from the steps after this one
        for t in reversed(range(len(x))):
            dscores = predicted[t].copy()
            dscores[y[t]] -= 1  # gradient of cross-entropy and softmax
            d["Why"] += np.outer(dscores, states[t + 1])
            d["by"] += dscores
            dh = w["Why"].T @ dscores + dh_next
            dz = (1 - states[t + 1] ** 2) * dh  # through tanh
            d["bh"] += dz
            d["Wxh"][:, x[t]] += dz
            d["Whh"] += np.outer(dz, states[t])
            dh_next = w["Whh"].T @ dz
        return loss, d, states[-1]

    def sample(self, h: np.ndarray, first: int, length: int) -> str:
        """Sample `length` characters after the character with id `first`, from state `h`."""
        w, sampled = self.weights, []
        for _ in range(length):
            h = np.tanh(w["Wxh"][:, first] + w["Whh"] @ h + w["bh"])
            scores = w["Why"] @ h + w["by"]
            p = np.exp(scores - scores.max())
            first = self.rng.choice(len(p), p=p / p.sum())
            sampled.append(self.characters[first])
        return "".join(sampled)

    def train(self, iterations: int, every: int = 100) -> Iterator[tuple[int, float, str]]:
        """Train; yield (iteration, smoothed loss per sequence in nats, sample) every `every` iterations and last."""
        squares = {name: np.zeros_like(value) for name, value in self.weights.items()}
        smooth = -np.log(1 / len(self.characters)) * LENGTH  # the uniform loss
        position, h = 0, np.zeros_like(self.weights["bh"])
        for i in range(iterations + 1):
            if position + LENGTH >= len(self.text):  # end of the text: start again from zero state
                position, h = 0, np.zeros_like(h)
            x = self.text[position : position + LENGTH]
            y = self.text[position + 1 : position + LENGTH + 1]
            if i % every == 0 or i == iterations:
                yield i, smooth, self.sample(h, x[0], 200)
            if i == iterations:
                return
            loss, d, h = self.gradients(x, y, h)
            smooth = smooth * 0.999 + loss * 0.001
            for name, weight in self.weights.items():
                g = np.clip(d[name], -LIMIT, LIMIT)  # limits exploding gradients
                squares[name] += g * g
                weight -= RATE * g / np.sqrt(squares[name] + 1e-8)  # Adagrad
            position += LENGTH

    def check_gradients(self, samples: int = 20, step: float = 1e-3) -> float:
        """Largest relative error of any weight array's gradient against finite differences at `samples` weights.

        The slope at a weight w is (8 D(step) - D(2 step)) / 12 step, to fourth order, with D(s) = f(w + s) - f(w - s)
        for the loss f.
        """
        x, y = self.text[:LENGTH], self.text[1 : LENGTH + 1]
        h = self.rng.normal(size=self.weights["bh"].shape) * 0.1
        _, d, _ = self.gradients(x, y, h)
        worst = 0.0
        for name, weight in self.weights.items():
            # Weights of characters outside the sequence have no gradient.
            tried = self.rng.choice(np.flatnonzero(d[name]), samples)
            slopes = []
            for k in tried:
                kept, loss = weight.flat[k], {}
                for s in (-2, -1, 1, 2):
                    weight.flat[k] = kept + s * step
                    loss[s] = self.gradients(x, y, h)[0]
                weight.flat[k] = kept
                slopes.append((8 * (loss[1] - loss[-1]) - (loss[2] - loss[-2])) / (12 * step))
            exact = d[name].flat[tried]
            worst = max(worst, float(np.linalg.norm(slopes - exact) / np.linalg.norm(exact)))
        return worst
