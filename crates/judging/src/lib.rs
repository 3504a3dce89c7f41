//! Ratings from raters' answers. `docs/statistics.md` has the model, the references and the figures of the simulations.
//!
//! Models, raters and prompts are numbers from 0, which the caller assigns. Nothing here reads a clock or draws a random
//! number: draws are arguments.

mod answers;
mod blend;
mod choice;
mod clusters;
mod drift;
mod estimate;
mod fit;
mod influence;
mod likelihood;
mod power;
mod reliability;
mod select;

pub use answers::{Answer, Answers, MOST_SHOWN, Refused, Said};
pub use blend::{Blend, Calibrated, Compared, blend};
pub use drift::{Credit, Drift, drift};
pub use estimate::{Estimate, Interval, START_ERROR};
pub use fit::{Fit, Weighting, fit, fit_from};
pub use influence::{Influential, influential};
pub use power::votes_to_separate;
pub use reliability::{CARELESS, CERTAIN, Reliability};
pub use select::{Chosen, Goal, Item, choose, gains, open_contrasts};
