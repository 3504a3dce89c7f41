//! Weights files of torch, and safetensors files: listing, loading and converting their tensors without executing anything
//! from a pickle.
//!
//! Files may come from anyone. Every number in a file is checked before use, nesting does not use the call stack, and memory is
//! bounded (see the limits in each file).
//!
//! | files | what they read |
//! |---|---|
//! | `source` | bytes of the file |
//! | `archive`, `zip` | the format of torch since 1.6: a zip archive |
//! | `legacy` | the format of torch before 1.6 |
//! | `input`, `opcode`, `machine`, `pickle`, `pickle_text`, `value` | pickles, as plain data |
//! | `calls` | the calls that unpickling would make |
//! | `rebuild`, `tensor` | the position of each tensor's values in the file |
//! | `names` | the dotted path of each tensor |
//! | `safetensors` | safetensors files |
//! | `floats`, `load` | values in `f32` |

mod archive;
mod calls;
mod floats;
mod input;
mod legacy;
mod load;
mod machine;
mod names;
mod opcode;
mod pickle;
mod pickle_text;
mod problem;
mod rebuild;
mod safetensors;
mod source;
mod tensor;
mod value;
mod weights_file;
mod zip;

pub use ::safetensors::Dtype;
pub use floats::type_problem;
pub use tensor::StoredTensor;
pub use weights_file::{Listing, STATE_DICT, WeightsFile};
