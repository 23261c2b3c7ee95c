"""Keras 3 on torch: its layers are modules, its optimizers are its own."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

keras.utils.set_random_seed(0)
x = np.random.rand(128, 8).astype("float32")
y = (x.sum(1) > 4).astype("int64")
model = keras.Sequential(
    [keras.layers.Dense(16, activation="relu"), keras.layers.Dense(16, activation="tanh"), keras.layers.Dense(2)]
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss=loss)
history = model.fit(x, y, epochs=2, batch_size=16, verbose=0, validation_split=0.25)
print([v.hex() for v in history.history["loss"]], float(sum(np.abs(w).sum() for w in model.get_weights())).hex())
