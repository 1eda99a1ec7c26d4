"""Cards of published mechanisms that are no objective here: what they are, why not, what to report instead."""

from __future__ import annotations

__all__ = ["NOT_BUILT"]

NOT_BUILT: dict[str, str] = {
    "adapo": """ADAPO moves eps_high by the error of the entropy against its initial value.

        :Formula: the clip, with high raised while H < H_0 and lowered above it.
        :Source: [S] arXiv:2603.11682 (ICLR 2026); the step of the rule was not seen [U].
        :Random reward: towards H_0, through clip-high, where its gap is positive.
        :True reward: the same, while clip-high can outweigh the reward.
        :Traps: it cannot hold entropy up where clip-high does not act.
        :Not built: its step is unknown, and it is a rule between rollouts, not an objective.
        :Report instead: the drift of `clip` at several values of high (`entclip neutral` finds the one that holds entropy).
        """,
    "aepo": """AEPO adds REINFORCE on samples drawn at a temperature chosen by the entropy.

        :Formula: for a quarter of the prompts extra rollouts at T = 1.2 while H < target, else .8; right ones get A = 1 and
            replace rows of the batch.
        :Source: [C] 597358816/AEPO; arXiv:2510.08141.
        :Random reward: towards the target, from r = 1 on.
        :True reward: the reward's drift beside it.
        :Traps: the code has no coefficient alpha: the strength is a share of the batch.
        :Not built: its samples come from another law than pi_old.
        :Report instead: Cov_pi(log pi, Q) of a policy, to which the drift of a tempered REINFORCE is proportional near T = 1.
        """,
    "aer": """AER adapts the coefficient of an entropy bonus, per sample by difficulty and as a whole by the entropy.

        :Formula: target tau H_0; the coefficient rises while H is below it.
        :Source: [S] arXiv:2510.10959, abstract and a machine summary; update rule, step and threshold not seen [U].
        :Random reward: towards the target.
        :True reward: towards the target, against the reward's drift.
        :Traps: the rule that TRL has (use_adaptive_entropy) is Skywork-OR1's.
        :Not built: its update rule and constants were not seen.
        :Report instead: the drift of a fixed bonus.
        """,
    "bapo": """BAPO widens the clip until samples with A > 0 carry a share of the loss.

        :Formula: the smallest (low, high) on a grid for which the positive share of the loss reaches rho_0.
        :Source: [S] arXiv:2510.18927 (ICLR 2026); [C] WooooDyy/BAPO, whose criterion, order and constants are others.
        :Random reward: none while r = 1. Then as the clip with those widths.
        :True reward: as the clip with those widths.
        :Traps: paper: share of pi-weighted absolute loss, high first; code: ratio of sums, low first; README: other constants.
        :Not built: the widths are chosen from the batch by the losses of its samples, which needs their advantages.
        :Report instead: `clip` at the widths that a run chose.
        """,
    "brorl": """BroRL takes many samples per prompt.

        :Formula: the usual objective with N = 512 responses.
        :Source: [P] arXiv:2510.01180 (ICML 2026).
        :Random reward: none of its own at first order; the noise term falls as 1/N (T8).
        :True reward: that of the reward, with less noise.
        :Traps: it is no entropy method.
        :Not built: there is nothing to build: it is a setting of the update.
        :Report instead: the experiment `brorl` at several batch sizes.
        """,
    "cde": """CDE adds a bonus to the reward that grows with the surprisal of the response.

        :Formula: reward + omega min(|reward|/kappa, alpha B), B the mean surprisal of the response.
        :Source: [S] arXiv:2509.09675 (ICLR 2026); kappa, alpha and the values of omega not seen [U].
        :Random reward: up from r = 1 on.
        :True reward: the reward's drift beside it. With rewards of 0 and 1 wrong answers get no bonus.
        :Traps: kappa divides.
        :Not built: its constants were not seen, and it changes rewards, with them the group's mean. Its critic needs value heads.
        :Report instead: `repo_r`, which also rewards surprisal.
        """,
    "clip_cov": """Clip-Cov removes the gradient of a few samples whose advantage and log-probability vary together.

        :Formula: of the samples with lb < (A - mean A)(log pi - mean log pi) < ub that the ratio clip keeps, max(1, floor(r N))
            drawn uniformly have no gradient.
        :Source: [C] PRIME-RL/Entropy-Mechanism-of-RL and verl; arXiv:2505.22617.
        :Random reward: up from r = 1 on: what it drops varies with the action and differs between the two signs.
        :True reward: up: what it drops lowers entropy.
        :Traps: thresholds are of a micro-batch. verl's pg_clipfrac is then the dropped share. Rare actions with a bad advantage
            have a positive covariance, too, and are hit.
        :Not built: the covariance of a sample needs the size of its advantage and those of the others.
        :Report instead: Cov_pi(log pi, w) by cause, which `drift` splits exactly.
        """,
    "clip_v": """Clip_V drops negative samples whose push on the entropy, centred over the vocabulary, is largest.

        :Formula: for A < 0 no gradient where E_pi S - S > mu std, S = p (H + log p); at most a share 1e-4 of the tokens.
        :Source: [C] agentscope-ai/Trinity-RFT clipv_advantage.py; arXiv:2602.03392.
        :Random reward: up from r = 1 on, where it fires.
        :True reward: the same beside the reward's drift.
        :Traps: mu is 8.5 by default_args, 2 by the constructor.
        :Not built: its cap counts the samples with A < 0 that pass, which statistics of policies do not know.
        :Report instead: `clip_b`.
        """,
    "decomposing": """Decomposing the entropy-performance exchange shapes advantages by perplexity and position.

        :Formula: A (1 - alpha z), z the standardised log-perplexity of the response; A + sign(A) b_t.
        :Source: [S] arXiv:2508.02260; alpha and b_t not seen [U].
        :Random reward: none of its own: the factor does not depend on the sign of A.
        :True reward: not assessed.
        :Traps: its stages are those of a run with a true reward.
        :Not built: it needs responses and positions, and its constants were not seen.
        :Report instead: the measured change by sign of A, by rollout and by position of the prefix.
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
        :Report instead: the variance of the gradient against the success rate.
        """,
    "gapo": """GAPO lets harder groups move further up.

        :Formula: high = e_low + (e_max - e_low)(k - c)/(k - 1) for right answers, c of the group's k being right; e_low for wrong
            ones; the sequence ratio of GSPO.
        :Source: [S] arXiv:2609.00444; its code was not seen.
        :Random reward: none while r = 1. Then less clip-high in hard groups: up.
        :True reward: the same beside the reward's drift.
        :Traps: 3e-3 and 5e-3 are widths of sequence ratios.
        :Not built: the width depends on the outcomes of the sample's group, and the ratio on the whole sequence.
        :Report instead: `clip` at the two ends, e_low and e_max.
        """,
    "gmpo": """GMPO weighs a sequence by the geometric mean of its tokens' ratios, each bounded.

        :Formula: rho = exp(mean log r, each held within +-.4 on the side of A); c = rho A for every token.
        :Source: [C] callsys/GMPO; arXiv:2507.20673.
        :Random reward: as the clip with wide bounds, on the sequence.
        :True reward: as the clip with wide bounds.
        :Traps: .4 is in log space.
        :Not built: it needs the ratio of a whole sequence, which no engine hands to objectives.
        :Report instead: the log-ratio of sequences, whose spread falls as 1/sqrt(length).
        """,
    "gspo": """GSPO clips the ratio of the whole sequence, per token.

        :Formula: s = exp(mean log r) of the sequence; no gradient for A > 0 where s > 1 + high and for A < 0 where s < 1 - low.
        :Source: [L] verl and Trinity-RFT; arXiv:2507.18071.
        :Random reward: none while r = 1. Then as the clip, of sequences.
        :True reward: as the clip, of sequences.
        :Traps: its widths are those of a mean of log-ratios, 3e-4 and 4e-4: a token's .2 never clips.
        :Not built: it needs the ratio of a whole sequence, which no engine hands to objectives.
        :Report instead: the log-ratio of sequences, whose spread falls as 1/sqrt(length): a sign-gated clip share is at most 1/2.
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
        :Report instead: the support kept, which `entclip compare` prints.
        """,
    "kl_cov": """KL-Cov adds a penalty on the log-ratio of samples whose advantage and log-probability vary together most.

        :Formula: c = r A, without a clip, and -beta sign(log r) for the share k of samples of largest
            (A - mean A)(log pi - mean log pi).
        :Source: [C] PRIME-RL/Entropy-Mechanism-of-RL and verl; arXiv:2505.22617.
        :Random reward: none while r = 1. Then up.
        :True reward: slows the fall.
        :Traps: inert on the first minibatch. k is 2e-3 or 2e-4, per micro-batch; SkyRL's .2 is a thousand times verl's.
        :Not built: the covariance of a sample needs the size of its advantage and those of the others.
        :Report instead: `none`, which is its objective without the penalty, and the KL of its steps.
        """,
    "leave_one_out": """Leave-one-out baselines compare each reward with the mean of the others of its group.

        :Formula: A_i = R_i - mean of the others = G/(G - 1) (R_i - mean of all).
        :Source: [P] RLOO, arXiv:2402.14740; derived.
        :Random reward: none of its own: it is a factor on the group-relative advantage, the same for both signs.
        :True reward: that of the reward.
        :Traps: with std scaling the factor cancels up to ddof.
        :Not built: it is an advantage, and exactly a learning rate G/(G - 1) times as large with scale = "none".
        :Report instead: advantage.kind = "group" with that learning rate.
        """,
    "parl": """PARL lowers the entropy rate of the trajectories of a Markov decision process.

        :Formula: reward - k times the entropy rate, estimated by a learned model of the transitions.
        :Source: [C] tud-amr/parl; arXiv:2311.18703.
        :Random reward: lowers the rate; the entropy of the policy is not forced down.
        :True reward: the same beside the reward's drift.
        :Traps: its configurations keep a positive bonus on the policy's entropy.
        :Not built: it needs transitions between states.
        :Report instead: the entropy of whole sequences beside that of tokens, which autoregressive policies have.
        """,
    "qae": """QAE compares rewards with a quantile of their group.

        :Formula: A = (R - b)/std, b the left-continuous K-quantile of the group's rewards; for rewards of 0 and 1 b = 0 where the
            success rate is at most 1 - K, else 1.
        :Source: [S] arXiv:2509.22611 (ICLR 2026); no readable code.
        :Random reward: none before a clip. With one only one side can act in a prompt: clip-high in hard ones (down), clip-low in
            easy ones (up).
        :True reward: entropy falls least where b is largest.
        :Traps: about four fifths of the advantages are 0.
        :Not built: it is an advantage rule; experiments have the group's mean alone.
        :Report instead: `clip` with one side off, for hard and for easy prompts.
        """,
    "steer": """STEER gives less weight to samples that would move the entropy most.

        :Formula: lambda = exp(-k |Omega|), Omega = (A/pi_old) pi (1 - pi)(log pi + H), k = -ln(lambda_min)/max |Omega| over the
            micro-batch; lambda multiplies a dual-clip loss.
        :Source: [C] zz-haooo/STEER core_algos.py; arXiv:2510.10150.
        :Random reward: none of its own with symmetric advantages: the factor depends on |A|. The dual clip under it drifts.
        :True reward: shrinks the drift, in either direction.
        :Traps: scale-free: the largest of a micro-batch always gets lambda_min (.8 in the code, .7 in the paper).
        :Not built: the factor depends on the size of the advantage and on a maximum over the batch, which no engine serves.
        :Report instead: `dual_clip`, which is its loss without the factor.
        """,
}
