"""What every function of several elements has to do, whichever it is."""

import torch


def agrees_with_autograd(act, x):
    """Jacobian and second derivative, over any dimension, against torch's differentiation of the value."""
    rows = x.movedim(act.dim, -1)
    n = rows.shape[-1]
    first, second = act.derivative(x), act.second_derivative(x)
    m = first.shape[-2]
    assert first.shape == (*rows.shape[:-1], m, n)
    assert second.shape == (*rows.shape[:-1], m, n, n)
    last = type(act)(**{**act.parameters, "dim": -1})
    each = zip(rows.reshape(-1, n), first.reshape(-1, m, n), second.reshape(-1, m, n, n), strict=True)
    for row, jacobian, hessian in each:
        torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(last, row), rtol=1e-11, atol=1e-13)
        numeric = [
            (last.derivative(row + h) - last.derivative(row - h)) / 2e-6 for h in 1e-6 * torch.eye(n, dtype=row.dtype)
        ]
        torch.testing.assert_close(hessian, torch.stack(numeric, -1), rtol=1e-6, atol=1e-8)


def gradients_are_right(act, x):
    """Backward, double backward, forward mode and forward over reverse, batched, against differences."""
    x = x.clone().requires_grad_()
    assert torch.autograd.gradcheck(act, x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(act, x, check_fwd_over_rev=True)
    values = torch.func.vmap(act)(x.detach())
    torch.testing.assert_close(values, torch.stack([act(row) for row in x.detach()]))


def compiles(act, x):
    """torch.compile in one graph, forward and backward."""
    torch.compiler.reset()  # else one function more in a long session is one too many for this line
    compiled = torch.compile(lambda t: act(t).square().sum(), fullgraph=True, backend="aot_eager")
    plain, traced = (x.clone().requires_grad_() for _ in range(2))
    act(plain).square().sum().backward()
    compiled(traced).backward()
    torch.testing.assert_close(traced.grad, plain.grad)


def saved_bytes(function, x):
    """Bytes kept for the backward pass, each storage once."""
    saved = {}
    x = x.clone().requires_grad_()

    def keep(t):
        saved[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        y = function(x)
    del y
    return sum(saved.values())
