//! What is asked: the i-th request of a seed, whenever it comes and however many there are.

use moe::seed::{Purpose, generator};
use topology::Picos;

use super::lengths::Lengths;
use super::prefixes::Prefixes;
use super::tenants::Tenants;
use crate::request::{Prefix, Request, RequestId};

/// The coordinate of the generators that draw what is not the prompt's length.
const OUTPUT: u64 = 1;
const TENANT: u64 = 2;

/// Draws requests one by one.
#[derive(Clone, Debug)]
pub(super) struct Prompts {
    pub(super) seed: u64,
    pub(super) input: Lengths,
    pub(super) output: Lengths,
    pub(super) prefixes: Option<Prefixes>,
    pub(super) tenants: Tenants,
}

impl Prompts {
    /// Request `index`; depends on nothing but the seed and the index, but for its time.
    pub(super) fn request(&self, index: u64, arrived: Picos) -> Request {
        let mut input_tokens = self.input.draw(&mut generator(Purpose::Lengths, self.seed, [index, 0, 0]));
        let output_tokens = self.output.draw(&mut generator(Purpose::Lengths, self.seed, [index, OUTPUT, 0]));
        let prefix = match &self.prefixes {
            Some(prefixes) => {
                input_tokens += prefixes.tokens();
                let mut rng = generator(Purpose::Prefixes, self.seed, [index, 0, 0]);
                prefixes.draw(&mut rng, index, input_tokens)
            }
            None => Prefix::none(),
        };
        let tenant = tenant(&self.tenants, self.seed, index);
        Request { id: RequestId(index), arrived, input_tokens, output_tokens, tenant, prefix }
    }
}

/// The tenant of request `index`.
pub(super) fn tenant(tenants: &Tenants, seed: u64, index: u64) -> u32 {
    tenants.draw(&mut generator(Purpose::Lengths, seed, [index, TENANT, 0]))
}
