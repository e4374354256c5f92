"""The smallest character model: a vanilla recurrent network in plain NumPy, to be read in one sitting.

    h_t = tanh(Wxh x_t + Whh h_{t-1} + bh)        the new memory: the old one mixed with the input
    p_t = softmax(Why h_t + by)                   how likely each character comes next

The text is read 25 characters at a time. The loss is the cost of the true next characters, -log p; its
gradient is found by walking the 25 steps backwards (backpropagation through time), and Adagrad takes a step
against it. The memory is carried from one piece to the next. After A. Karpathy's "min-char-rnn" (2015), whose
numbers this keeps: 100 units, clipping to [-5, 5], learning rate 0.1. Nothing else of rnntk is used here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

UNITS, LENGTH, RATE, LIMIT = 100, 25, 0.1, 5.0


class MinChar:
    """The model: five arrays, and what can be done with them. V is the number of distinct characters.

    Args:
        text: what is learnt; at least LENGTH + 1 characters, two of them different.
        seed: of the first weights and of the samples.
        units: size of the memory.
    """

    def __init__(self, text: str, seed: int = 0, units: int = UNITS) -> None:
        if len(text) <= LENGTH or len(set(text)) < 2:
            raise ValueError(f"a text needs more than {LENGTH} characters, two of them different")
        self.characters = sorted(set(text))
        self.ids = {character: i for i, character in enumerate(self.characters)}
        self.text = np.array([self.ids[character] for character in text])
        self.rng = np.random.default_rng(seed)
        V = len(self.characters)
        shapes = {
            "Wxh": (units, V),  # input to memory
            "Whh": (units, units),  # memory to memory
            "Why": (V, units),  # memory to output
        }
        self.weights = {name: self.rng.normal(size=shape) * 0.01 for name, shape in shapes.items()}
        self.weights["bh"] = np.zeros(units)
        self.weights["by"] = np.zeros(V)

    def gradients(
        self, x: np.ndarray, y: np.ndarray, h: np.ndarray
    ) -> tuple[float, dict[str, np.ndarray], np.ndarray]:
        """Loss in nats (summed), its gradient for each weight, and the memory at the end.

        Args:
            x, y: ids of the characters read and of those that follow them, (T,) each.
            h: memory before the first of them, (units,).
        """
        w = self.weights
        # Forwards: keep every memory and every prediction, for the way back needs them.
        memory, predicted = [h], []
        loss = 0.0
        for t in range(len(x)):
            # A one-hot input picks a column of Wxh.
            h = np.tanh(w["Wxh"][:, x[t]] + w["Whh"] @ h + w["bh"])
            scores = w["Why"] @ h + w["by"]
            p = np.exp(scores - scores.max())
            p /= p.sum()
            loss -= np.log(p[y[t]])
            memory.append(h)
            predicted.append(p)
        # Backwards: what a change of each weight would do to the loss.
        d = {name: np.zeros_like(value) for name, value in w.items()}
        dh_next = np.zeros_like(h)  # what the steps after this one want of this memory
        for t in reversed(range(len(x))):
            dscores = predicted[t].copy()
            dscores[y[t]] -= 1  # softmax and log together: predicted minus true
            d["Why"] += np.outer(dscores, memory[t + 1])
            d["by"] += dscores
            dh = w["Why"].T @ dscores + dh_next
            draw = (1 - memory[t + 1] ** 2) * dh  # through tanh
            d["bh"] += draw
            d["Wxh"][:, x[t]] += draw
            d["Whh"] += np.outer(draw, memory[t])
            dh_next = w["Whh"].T @ draw
        return loss, d, memory[-1]

    def sample(self, h: np.ndarray, first: int, length: int) -> str:
        """Draw `length` characters after the character `first`, beginning with memory `h`."""
        w, drawn = self.weights, []
        for _ in range(length):
            h = np.tanh(w["Wxh"][:, first] + w["Whh"] @ h + w["bh"])
            scores = w["Why"] @ h + w["by"]
            p = np.exp(scores - scores.max())
            first = self.rng.choice(len(p), p=p / p.sum())
            drawn.append(self.characters[first])
        return "".join(drawn)

    def train(self, iterations: int, every: int = 100) -> Iterator[tuple[int, float, str]]:
        """Train; yields (iteration, smoothed loss of a piece in nats, sample of 200 characters).

        So it does before the first iteration, after every `every` iterations, and after the last.
        """
        squares = {name: np.zeros_like(value) for name, value in self.weights.items()}
        smooth = -np.log(1 / len(self.characters)) * LENGTH  # the cost of knowing nothing
        position, h = 0, np.zeros_like(self.weights["bh"])
        for i in range(iterations + 1):
            if position + LENGTH + 1 > len(self.text):  # the end of the text: begin again, forget
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

        The loss f at four points near a weight w gives its slope to fourth order: with D(s) = f(w+s) - f(w-s),
        the slope is (8 D(step) - D(2 step)) / 12 step. It must be what `gradients` says. Some weights of each
        array are tried; the error is the length of their difference as a share of their length.
        """
        x, y = self.text[:LENGTH], self.text[1 : LENGTH + 1]
        h = self.rng.normal(size=self.weights["bh"].shape) * 0.1
        _, d, _ = self.gradients(x, y, h)
        worst = 0.0
        for name, weight in self.weights.items():
            # Weights of characters that are not read have no gradient: look where there is one.
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
