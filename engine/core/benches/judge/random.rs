/// Xorshift64* (Vigna 2016), with the distributions that traffic has.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds give unrelated numbers, and never 0.
        let mut random = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            random.next();
        }
        random
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Uniformly distributed between 0 and 1, without both.
    pub fn share(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Normally distributed, by Box and Muller.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (self.share(), self.share());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// How many of `n` trials succeed, each with probability `p`: by the gaps between successes.
    pub fn binomial(&mut self, n: u64, p: f64) -> u64 {
        if p <= 0.0 {
            return 0;
        }
        if p >= 1.0 {
            return n;
        }
        let (mut at, mut count) = (0.0, 0);
        loop {
            at += (self.share().ln() / (-p).ln_1p()).floor() + 1.0;
            if at > n as f64 {
                return count;
            }
            count += 1;
        }
    }

    /// Errors among `n` requests at the rate `p`, in bursts of geometric size, `size` on average.
    pub fn bursts(&mut self, n: u64, p: f64, size: f64) -> u64 {
        let bursts = self.binomial(n, p / size);
        if size <= 1.0 {
            return bursts;
        }
        (0..bursts)
            .map(|_| 1 + (self.share().ln() / (-1.0 / size).ln_1p()).floor() as u64)
            .sum::<u64>()
            .min(n)
    }
}
