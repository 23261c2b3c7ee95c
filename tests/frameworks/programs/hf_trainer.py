"""Hugging Face's Trainer on a tiny GPT-2, with accumulation, clipping and evaluation; text is generated in between."""

import os
import tempfile
import warnings

os.environ["TRANSFORMERS_VERBOSITY"] = "error"

import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

warnings.filterwarnings("ignore")
set_seed(0)
config = GPT2Config(
    vocab_size=32, n_positions=16, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0, pad_token_id=0
)
model = GPT2LMHeadModel(config)
data = [{"input_ids": row, "labels": row} for row in torch.randint(1, 32, (24, 12))]


class Speak(TrainerCallback):
    def on_step_end(self, args, state, control, **given):
        model.eval()
        print(model.generate(torch.ones(1, 2, dtype=torch.long), max_new_tokens=3, do_sample=False)[0].tolist())


arguments = TrainingArguments(
    tempfile.mkdtemp(),
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    max_grad_norm=0.5,
    num_train_epochs=2,
    eval_strategy="epoch",
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
    logging_strategy="no",
    use_cpu=True,
    seed=0,
)
trainer = Trainer(model, arguments, train_dataset=data, eval_dataset=data[:8], callbacks=[Speak()])
trainer.remove_callback(PrinterCallback)  # it prints times
result = trainer.train()
print(result.training_loss.hex(), *[p.detach().double().sum().item().hex() for p in model.parameters()])
