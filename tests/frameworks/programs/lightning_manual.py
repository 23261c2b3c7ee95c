"""Lightning with manual optimization of two networks."""

import logging
import tempfile
import warnings

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Adversarial(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(), nn.Linear(16, 8))
        self.critic = nn.Sequential(nn.Linear(8, 16), nn.LeakyReLU(), nn.Linear(16, 1))

    def training_step(self, batch, _):
        of_generator, of_critic = self.optimizers()
        (real,) = batch
        fake = self.generator(torch.randn(len(real), 4))
        of_critic.zero_grad()
        loss = self.critic(fake.detach()).mean() - self.critic(real).mean()
        self.manual_backward(loss)
        of_critic.step()
        of_generator.zero_grad()
        self.manual_backward(-self.critic(fake).mean())
        of_generator.step()
        print(loss.item().hex())

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.generator.parameters(), 1e-3), torch.optim.RMSprop(
            self.critic.parameters(), 1e-3
        )


lightning.seed_everything(0)
model = Adversarial()
trainer = lightning.Trainer(
    max_epochs=2,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
    accelerator="cpu",
    default_root_dir=tempfile.mkdtemp(),
)
trainer.fit(model, DataLoader(TensorDataset(torch.randn(64, 8)), batch_size=16))
print(*[p.detach().double().sum().item().hex() for p in model.parameters()])
