"""Lightning steps inside a closure, clips by itself, and validates before and in between."""

import logging
import tempfile
import warnings

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 2))

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        print(loss.item().hex())
        return loss

    def validation_step(self, batch, _):
        x, y = batch
        self.log("val", nn.functional.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


lightning.seed_everything(0)
x = torch.randn(64, 8)
data = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), batch_size=16)
model = Classifier()
trainer = lightning.Trainer(
    max_epochs=3,
    accumulate_grad_batches=2,
    gradient_clip_val=0.5,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    accelerator="cpu",
    default_root_dir=tempfile.mkdtemp(),
)
trainer.fit(model, data, data)
print(*[p.detach().double().sum().item().hex() for p in model.parameters()])
