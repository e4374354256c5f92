"""The smallest character model: a vanilla recurrent network in plain NumPy, to be read in one sitting.

    h_t = tanh(Wxh x_t + Whh h_{t-1} + bh)        the new hidden state, from the old one and the input
    p_t = softmax(Why h_t + by)                   the probability of each next character

The text is read 25 characters at a time. The loss is the cross-entropy of the true next characters, -log p; its
gradient is found by backpropagation through the 25 steps, and Adagrad takes a step against it. The last state of a
piece is the first of the next. After A. Karpathy's "min-char-rnn" (2015), with its numbers: 100 units, clipping to
[-5, 5], learning rate 0.1. Nothing else of rnntk is used here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

UNITS, LENGTH, RATE, LIMIT = 100, 25, 0.1, 5.0


class MinChar:
    """The model: five arrays of weights. V is the number of distinct characters.

    Args:
        text: to learn; at least LENGTH + 1 characters, two of them different.
        seed: of the initial weights and of the samples.
        units: size of the hidden state.
    """

    def __init__(self, text: str, seed: int = 0, units: int = UNITS) -> None:
        if len(text) <= LENGTH or len(set(text)) < 2:
            raise ValueError(f"a text needs more than {LENGTH} characters, two of them different")
        self.characters = sorted(set(text))
        self.ids = {character: i for i, character in enumerate(self.characters)}
        self.text = np.array([self.ids[character] for character in text])
        self.rng = np.random.default_rng(seed)
        V = len(self.characters)
        # Input to state, state to state, state to output.
        shapes = {"Wxh": (units, V), "Whh": (units, units), "Why": (V, units)}
        self.weights = {name: self.rng.normal(size=shape) * 0.01 for name, shape in shapes.items()}
        self.weights["bh"] = np.zeros(units)
        self.weights["by"] = np.zeros(V)

    def gradients(
        self, x: np.ndarray, y: np.ndarray, h: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
        """Summed loss in nats, its gradient for each weight, and the last state.

        Args:
            x, y: ids of the input characters and of those that follow them, (T,) each.
            h: state before the first of them, (units,).
        """
        w = self.weights
        # Forwards: keep the states and predictions for the way back.
        states, predicted, loss = [h], [], 0.0
        for t in range(len(x)):
            # A one-hot input picks a column of Wxh.
            h = np.tanh(w["Wxh"][:, x[t]] + w["Whh"] @ h + w["bh"])
            scores = w["Why"] @ h + w["by"]
            p = np.exp(scores - scores.max())
            p /= p.sum()
            loss -= np.log(p[y[t]])
            states.append(h)
            predicted.append(p)
        # Backwards: the gradient of the loss for each weight.
        d = {name: np.zeros_like(value) for name, value in w.items()}
        dh_next = np.zeros_like(h)  # from the steps after this one
        for t in reversed(range(len(x))):
            dscores = predicted[t].copy()
            dscores[y[t]] -= 1  # softmax and log together: predicted minus true
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
        """Sample `length` characters after the character `first`, from state `h`."""
        w, sampled = self.weights, []
        for _ in range(length):
            h = np.tanh(w["Wxh"][:, first] + w["Whh"] @ h + w["bh"])
            scores = w["Why"] @ h + w["by"]
            p = np.exp(scores - scores.max())
            first = self.rng.choice(len(p), p=p / p.sum())
            sampled.append(self.characters[first])
        return "".join(sampled)

    def train(self, iterations: int, every: int = 100) -> Iterator[tuple[int, float, str]]:
        """Train; yields (iteration, smoothed loss of a piece in nats, sample of 200 characters).

        This is before the first iteration, after every `every` iterations, and after the last.
        """
        squares = {name: np.zeros_like(value) for name, value in self.weights.items()}
        smooth = -np.log(1 / len(self.characters)) * LENGTH  # the loss of a uniform guess
        position, h = 0, np.zeros_like(self.weights["bh"])
        for i in range(iterations + 1):
            if position + LENGTH + 1 > len(
                self.text
            ):  # the end of the text: start again, with no state
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
                g = np.clip(d[name], -LIMIT, LIMIT)  # against exploding gradients
                squares[name] += g * g
                weight -= RATE * g / np.sqrt(squares[name] + 1e-8)  # Adagrad
            position += LENGTH

    def check_gradients(self, samples: int = 20, step: float = 1e-3) -> float:
        """The largest relative error of a weight array's gradient against finite differences.

        With D(s) = f(w + s) - f(w - s) for the loss f near a weight w, the slope is (8 D(step) - D(2 step)) / 12 step,
        to fourth order. The error is that of the vector of `samples` slopes per array.
        """
        x, y = self.text[:LENGTH], self.text[1 : LENGTH + 1]
        h = self.rng.normal(size=self.weights["bh"].shape) * 0.1
        _, d, _ = self.gradients(x, y, h)
        worst = 0.0
        for name, weight in self.weights.items():
            # Weights of characters that are not read have no gradient.
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
            worst = max(worst, np.linalg.norm(slopes - exact) / np.linalg.norm(exact))
        return float(worst)
