"""Cards of published mechanisms that are no objective here: what they are, why not, what to report instead."""

from __future__ import annotations

__all__ = ["NOT_BUILT"]

NOT_BUILT: dict[str, str] = {
    "brorl": """BroRL takes many samples per prompt.

        :Formula: the usual objective with N = 512 responses.
        :Source: [P] arXiv:2510.01180 (ICML 2026).
        :Random reward: none of its own at first order; the noise term falls as 1/N (T8).
        :True reward: that of the reward, with less noise.
        :Traps: it is no entropy method.
        :Not built: there is nothing to build: it is a setting of the update.
        :Report instead: the experiment `brorl` at several batch sizes.
        """,
    "decomposing": """Decomposing the entropy-performance exchange shapes advantages by perplexity and position.

        :Formula: A (1 - alpha z), z the standardised log-perplexity of the response; A + sign(A) b_t.
        :Source: [S] arXiv:2508.02260; alpha and b_t not seen [U].
        :Random reward: none of its own: the factor does not depend on the sign of A.
        :True reward: not assessed.
        :Traps: its stages are those of a run with a true reward.
        :Not built: it needs responses and positions, and its constants were not seen.
        :Report instead: the entropy change by sign of A, by stage of the run and by position of the token.
        :Functions: `entclip.ledger.by_sign.by_sign`, `entclip.ledger.by_sign.by_position`.
        """,
    "entropy_mechanism": """The entropy mechanism ties reward to entropy along a run; Clip-Cov and KL-Cov are its objectives.

        :Formula: R = -a e^H + b, with the ceiling b - a at H = 0.
        :Source: [S] arXiv:2505.22617: fitted run by run; 36 steps foretell the next 200 within 1 % there.
        :Random reward: no objective.
        :True reward: no objective.
        :Traps: points of one run are not independent, so that an interval takes several runs; the authors say that the law is not
            universal.
        :Not built: the law is no objective; the two that come with it are `clip_cov` and `kl_cov`.
        :Report instead: a and b with intervals over runs, and how well the first half of a run foretells the second.
        :Functions: `entclip.ledger.reward_law.fit_reward_law`, `entclip.ledger.reward_law.points_of`.
        """,
    "exploration_exploitation": """The analysis of clipping as implicit entropy minimisation has no objective of its own.

        :Formula: an exponential tilt of pi_old by the advantage; E dH = -c_G Phi eta^2 without a clip.
        :Source: [S] arXiv:2512.16912 (ICLR 2026); Phi and c_G in closed form not seen [U].
        :Random reward: second order in eta without a clip; with one a first-order term beside it, which the paper's bound leaves.
        :True reward: not assessed.
        :Traps: it bounds the upper clip alone.
        :Not built: there is no objective.
        :Report instead: curvature (T8) and noise drift (T9) of `none`.
        """,
    "fspo": """FSPO turns the advantage of a token around where a verifier contradicts its sign.

        :Formula: A_t if m_t A_t >= 0, else -A_t, m_t = -1 or 1 from a verifier of factuality.
        :Source: [C] nusnlp/FSPO ray_trainer.py; arXiv:2505.24630 (NeurIPS 2025).
        :Random reward: depends on the verifier.
        :True reward: depends on the verifier.
        :Traps: the released reward is the answer's score alone; the paper mixes factuality in.
        :Not built: it needs text and a verifier.
        :Report instead: signal and variance of the gradient against the success rate.
        :Functions: `entclip.drift.gradient_noise.gradient_noise`.
        """,
    "invisible_leash": """The Invisible Leash measures which correct answers a run makes unreachable.

        :Formula: with P preserved, E expanded, S shrunk: SRR = P/(P + S), NDR = E/(P + E), SDS their harmonic mean,
            NSCR = (E - S)/(P + E + S).
        :Source: [S] arXiv:2507.14843.
        :Random reward: no objective.
        :True reward: no objective.
        :Traps: that entropy never rises above that of the base policy (its Theorem C.6) is false: one clip-low step of a skewed
            policy is a counterexample.
        :Not built: there is no objective.
        :Report instead: the four counts and rates of two policies, and the entropy of answers beside that of actions; the
            actions that stay within reach of 8,192 samples are a column of `entclip compare`.
        :Functions: `entclip.policies.answers.support_kept`, `entclip.policies.answers.answer_entropy`.
        """,
}
