"""Run by a Python that has TensorFlow and Keras: writes the fourth article's ShuffleNetV2 in every kind of file.

``python write_keras.py FOLDER 2`` uses tf_keras (Keras 2), ``... 3`` Keras 3. It leaves ``model.h5``, ``model.keras``,
``model.weights.h5``, with Keras 2 also ``weights.h5``, with ``model.json`` the configuration, and ``model.npz``
(images and logits in NCHW).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
import numpy as np

if sys.argv[2] == "2":
    import tensorflow as tf
    import tf_keras as keras

    reshape, transpose, concat, split = tf.reshape, tf.transpose, tf.concat, tf.split
else:
    import keras

    reshape, transpose = keras.ops.reshape, keras.ops.transpose
    concat, split = keras.ops.concatenate, keras.ops.split
layers = keras.layers


def conv_block(x, filters):
    x = layers.Conv2D(filters, (1, 1), strides=1, padding="same", use_bias=False)(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def depthwise_block(x, stride):
    x = layers.DepthwiseConv2D(kernel_size=(3, 3), strides=stride, padding="same", use_bias=False)(x)
    return layers.BatchNormalization()(x)


def shuffle(x):
    _, h, w, c = x.shape
    return reshape(transpose(reshape(x, [-1, h, w, 2, c // 2]), [0, 1, 2, 4, 3]), [-1, h, w, c])


def unit_1(x, filters):
    shortcut, x = split(x, 2, axis=-1)
    x = conv_block(depthwise_block(conv_block(x, filters // 2), 1), filters // 2)
    return shuffle(concat([shortcut, x], axis=-1))


def unit_2(x, filters):
    inputs = x.shape[-1]
    shortcut = conv_block(depthwise_block(x, 2), inputs)
    x = conv_block(depthwise_block(conv_block(x, inputs // 2), 2), filters - inputs)
    return shuffle(concat([shortcut, x], axis=-1))


def network(size, classes):
    inputs = keras.Input(shape=(size, size, 3))
    x = layers.Conv2D(24, (3, 3), strides=2, padding="same")(inputs)
    x = layers.MaxPooling2D(pool_size=(3, 3), strides=2, padding="same")(x)
    for filters, repeats in ((116, 3), (232, 7), (464, 3)):
        x = unit_2(x, filters)
        for _ in range(repeats):
            x = unit_1(x, filters)
    x = layers.Conv2D(1024, (1, 1), padding="same")(x)
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(classes)(x))


def random_value(name, shape, random):
    if "gamma" in name or "variance" in name:
        return random.uniform(0.5, 1.5, shape)
    if len(shape) == 1:
        return random.normal(0, 0.2, shape)
    inputs = np.prod(shape[:2]) if "depthwise" in name else np.prod(shape[:-1])
    return random.normal(0, inputs**-0.5, shape)


def main(folder: Path, version: str) -> None:
    random = np.random.default_rng(0)
    network(64, 3)  # counters in the real one's names then start elsewhere
    model = network(75, 7)  # odd and even sizes on the way: 75, 38, 19, 10, 5, 3
    model.set_weights([random_value(getattr(w, "path", w.name), tuple(w.shape), random) for w in model.weights])
    model.compile("adam", "mse")
    images = random.normal(0, 1, (2, 75, 75, 3)).astype(np.float32)
    logits = model.predict(images, verbose=0)
    np.savez(folder / "model.npz", images=images.transpose(0, 3, 1, 2), logits=logits)
    (folder / "model.json").write_text(model.to_json())
    model.save(folder / "model.h5")
    model.save(folder / "model.keras")
    model.save_weights(folder / "model.weights.h5")
    if version == "2":
        model.save_weights(folder / "weights.h5")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
