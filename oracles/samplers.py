"""Fixtures of the samplers: results of diffusers' schedulers for recorded model outputs.

Latents and outputs are drawn from a seed. Noise levels are in f64, everything else is as in diffusers. See README.md.
"""

import shutil

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers import (
    scheduling_ddpm,
    scheduling_euler_ancestral_discrete,
    scheduling_lcm,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from diffusion import FIXTURES, normal, save, write_json

FOLDER = FIXTURES / "samplers"
SHAPE = (1, 1, 2, 2)
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# No sampler makes more than one evaluation more than steps.
LONGEST = 50
SPACINGS = [{"timestep_spacing": spacing, "steps_offset": 1} for spacing in ("leading", "trailing", "linspace")]
PREDICTIONS = ("epsilon", "v_prediction")
# Name, class, settings and timestep spacings of each sampler.
SAMPLERS = [
    ("ddim", DDIMScheduler, {"clip_sample": False}, SPACINGS),
    ("ddim", DDIMScheduler, {"clip_sample": False, "set_alpha_to_one": False}, SPACINGS),
    ("ddpm", DDPMScheduler, {"clip_sample": False}, SPACINGS),
    ("pndm", PNDMScheduler, {"skip_prk_steps": True}, SPACINGS),
    ("pndm", PNDMScheduler, {"skip_prk_steps": True, "set_alpha_to_one": True}, SPACINGS),
    ("euler", EulerDiscreteScheduler, {}, SPACINGS),
    ("euler", EulerDiscreteScheduler, {"use_karras_sigmas": True}, SPACINGS),
    ("euler_ancestral", EulerAncestralDiscreteScheduler, {}, SPACINGS),
    ("dpmpp_2m", DPMSolverMultistepScheduler, {}, SPACINGS),
    ("dpmpp_2m_karras", DPMSolverMultistepScheduler, {"use_karras_sigmas": True}, [{}]),
    ("unipc", UniPCMultistepScheduler, {}, SPACINGS),
    ("unipc", UniPCMultistepScheduler, {"use_karras_sigmas": True}, [{}]),
    ("lcm", LCMScheduler, {}, [{}]),
    ("lcm", LCMScheduler, {"original_inference_steps": 100, "timestep_scaling": 0.01}, [{}]),
]


def exact(scheduler):
    """Sets the noise levels of a scheduler in f64. In f32, its own type, 1 - abar has only four digits at first."""
    config = scheduler.config
    root = {"linear": 1, "scaled_linear": 2}[config.beta_schedule]
    ends = config.beta_start ** (1 / root), config.beta_end ** (1 / root)
    betas = torch.linspace(*ends, config.num_train_timesteps, dtype=torch.float64) ** root
    levels = torch.cumprod(1 - betas, dim=0)
    if config.get("rescale_betas_zero_snr"):
        levels = torch.cumprod(1 - rescale_zero_terminal_snr(betas), dim=0)
        # Samplers that divide by the last level have a small number there, the others 0.
        levels[-1] = scheduler.alphas_cumprod[-1].double()
        assert levels[-1] in (0, 2**-24)
    assert torch.allclose(levels, scheduler.alphas_cumprod.double(), rtol=2e-6)
    scheduler.alphas_cumprod = levels
    if hasattr(scheduler, "final_alpha_cumprod"):
        scheduler.final_alpha_cumprod = torch.ones(()) if config.set_alpha_to_one else levels[0]
    return scheduler


def followed(scheduler, steps, start, outputs, fresh):
    """Timestep, network input and resulting latents of each evaluation, in one row."""
    step = 0
    for module in (scheduling_ddpm, scheduling_euler_ancestral_discrete, scheduling_lcm):
        module.randn_tensor = lambda *_, **__: fresh[step]
    scheduler.set_timesteps(steps)
    latents = start * scheduler.init_noise_sigma
    rows = []
    for step, timestep in enumerate(scheduler.timesteps):
        shown = scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(outputs[step], timestep, latents).prev_sample
        assert latents.isfinite().all()
        rows.append(torch.cat([timestep.float().reshape(1), shown.flatten(), latents.flatten().float()]))
    return torch.stack(rows)


def sequences():
    """Rows of every sampler for several numbers of steps; the tensors of a case are named NUMBER.STEPS.

    Those with zero terminal signal-to-noise ratio (Lin et al. 2023) are named zero.NUMBER.STEPS.
    """
    outputs = normal(80, LONGEST + 1, *SHAPE).float()
    start = normal(81, *SHAPE).float()
    fresh = normal(84, LONGEST, *SHAPE).float()
    tensors = {"predictions": outputs, "noise": start, "fresh_noise": fresh}
    cases, zero = [], []

    def case(name, made, settings, numbers_of_steps, cases=cases, prefix=""):
        config = SCHEDULE | settings
        written = {key: value for key, value in config.items() if value is not None}
        cases.append({"sampler": name, "config": {"_class_name": made.__name__} | written, "steps": numbers_of_steps})
        for steps in numbers_of_steps:
            rows = followed(exact(made(**config)), steps, start, outputs, fresh)
            tensors[f"{prefix}{len(cases) - 1}.{steps}"] = rows

    for name, made, settings, spacings in SAMPLERS:
        for prediction in PREDICTIONS:
            for spacing in spacings:
                case(name, made, settings | spacing | {"prediction_type": prediction}, [1, 4, 7, 20])
        # The class's own spacing and prediction type, and another shape of betas.
        case(name, made, settings, [7, LONGEST])
        case(name, made, settings | {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}, [5])
        if name != "pndm":  # Its class does not have the setting.
            for spacing in spacings:
                rescaled = {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
                case(name, made, settings | spacing | rescaled, [1, 4, 7, 20], zero, "zero.")
    write_json(FOLDER / "cases.json", cases)
    write_json(FOLDER / "zero_snr.json", zero)
    return tensors


def roundings():
    """Timesteps for numbers of steps at which numpy's rounding decides."""
    tensors, cases = {}, []
    for name, made, settings, spacings in SAMPLERS:
        for spacing in spacings:
            config = SCHEDULE | settings | spacing
            cases.append({"sampler": name, "config": config})
            for steps in (2, 27, 48) if name == "lcm" else (2, 27, 48, 96, 105):
                scheduler = exact(made(**config))
                scheduler.set_timesteps(steps)
                tensors[f"rounded.{len(cases) - 1}.{steps}"] = scheduler.timesteps.float()
    write_json(FOLDER / "rounded.json", cases)
    return tensors


def noising():
    """Latents and noise at different timesteps: the noised latents and the velocity."""
    timesteps = torch.tensor([0, 1, 250, 500, 999])
    clean, noise = normal(82, 5, 2, 3, 2), normal(83, 5, 2, 3, 2)
    tensors = {"clean": clean, "noise_added": noise, "noised_at": timesteps}
    for shape_of_betas, start_end in (("scaled_linear", (0.00085, 0.012)), ("linear", (0.0001, 0.02))):
        made = DDIMScheduler(beta_schedule=shape_of_betas, beta_start=start_end[0], beta_end=start_end[1])
        tensors[f"{shape_of_betas}.noised"] = made.add_noise(clean.float(), noise.float(), timesteps)
        tensors[f"{shape_of_betas}.velocity"] = made.get_velocity(clean.float(), noise.float(), timesteps)
    made = exact(DDIMScheduler(**SCHEDULE, rescale_betas_zero_snr=True, prediction_type="v_prediction"))
    tensors["zero.levels"] = made.alphas_cumprod
    tensors["zero.noised"] = made.add_noise(clean.double(), noise.double(), timesteps)
    tensors["zero.velocity"] = made.get_velocity(clean.double(), noise.double(), timesteps)
    return tensors


def main():
    torch.set_num_threads(1)
    shutil.rmtree(FOLDER, ignore_errors=True)
    save(FOLDER, "expected.safetensors", sequences() | roundings() | noising())
    size = sum(f.stat().st_size for f in FOLDER.iterdir())
    print(f"{size} bytes under {FOLDER.name}/")


if __name__ == "__main__":
    main()
