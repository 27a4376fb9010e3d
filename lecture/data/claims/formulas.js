// The equations of the claims once more, for a page: by id, from inputs (by name) to values in the crate's order. A value that
// depends on no input is null, and so are those after the last that does: the page keeps the crate's.
//
// By hand, and not made from anything: the formulas of the claims are sentences for people, and the equations in src/claims/ call
// functions that the simulator and the command stand on. A second notation for all of them would be the larger duplicate, and would
// be the one in which mistakes hide. A browser holds each formula here against the crate at a thousand points (tests/board_page.rs).
const formulas = (() => {
  const quotient = (a, b) => (a === 0 ? 0 : a / b);
  const relativeTime = (u, k) => Math.max(u, 1 + k * u);
  const relativeCost = (u, k) => Math.max(1 / u + k, 1);
  const saving = (u, k) => 1 - Math.max(k, 1) / relativeCost(u, k);
  const load = (r, k) => (r >= 1 && r > k ? 1 / (r - k) : NaN);
  const gamma = (eta) => quotient(2, 6 * eta);
  const served = (rate, days) => rate * (days * 86400);
  const hold = (active, flops, capacity, kv) => quotient(2 * active * capacity, flops * kv);
  const dollarsPerMtok = (active, flops, perHour, mfu) =>
    quotient(2 * active * (perHour / 3600), flops * mfu) * 1e6;
  const cacheAtStep = (active, flops, bandwidth, step) => quotient(2 * active * bandwidth, flops * step);

  // Share of tokens with one of `reached` of `experts` among their k.
  const hit = (experts, k, reached) => {
    let miss = 1;
    for (let m = 0; m < Math.min(reached, experts); m++) miss *= Math.max(experts - m - k, 0) / (experts - m);
    return 1 - miss;
  };
  // Copies a token in and between racks, experts spread as evenly as they can be.
  const copies = (scheme, racks, ranks, experts, k) => {
    if (k > experts) return { intra: 0, inter: 0 };
    const n = racks * ranks;
    if (scheme === "flat") return { intra: k * (ranks - 1) / n, inter: k * (n - ranks) / n };
    const fuller = experts % racks, of = Math.floor(experts / racks);
    let rankHits = 0, rackHits = 0;
    for (const [count, ofRack] of [[fuller, of + 1], [racks - fuller, of]]) {
      const least = Math.floor(ofRack / ranks), more = ofRack % ranks;
      rankHits += count * (more * hit(experts, k, least + 1) + (ranks - more) * hit(experts, k, least));
      rackHits += count * hit(experts, k, ofRack);
    }
    return scheme === "dedup"
      ? { intra: (ranks - 1) / n * rankHits, inter: (n - ranks) / n * rankHits }
      : { intra: (1 - 1 / ranks) * rankHits, inter: (racks - 1) / racks * rackHits };
  };
  const slowdown = (scheme, i) => {
    const up = 900e9, out = Math.max(Math.trunc(up / i.throttle), 1);
    const time = (scheme, racks) => {
      const { intra, inter } = copies(scheme, racks, i.ranks_per_rack, i.experts, i.top_k);
      return Math.max(intra / up, inter / out);
    };
    return time(scheme, i.racks) / time("dedup", 1);
  };
  const crossing = (racks, g, beta) => (racks <= 1 ? 0 : beta * (racks - 1) / racks * g / (g - 1));
  // The batch whose all-to-all takes as long as its experts' weights: GB200, FP8, matrices of 7168 by 2048.
  const overtaking = (scheme, racks, i) => {
    const { intra, inter } = copies(scheme, racks, i.gpus, i.experts, i.top_k);
    const load = Math.max(intra, i.throttle * inter) / i.top_k;
    return i.experts * (3 * 2048) * 900e9 / (i.top_k * load * 3 * 8e12);
  };
  // Milliseconds of a step on n ranks.
  const step = (s) => {
    const compute = s.batch * (2 * s.active) / (s.n * s.flops) * 1e3;
    const weights = s.weights / (s.n * s.bandwidth) * 1e3;
    const kv = s.batch * (s.context * s.kv) / (s.n * s.bandwidth) * 1e3;
    return { compute, weights, kv, max: Math.max(compute, weights + kv), sum: kv + Math.max(compute, weights) };
  };
  const v3 = (i) => step({
    batch: i.micro_batch, active: 37e9, weights: 671e9, context: i.context, kv: 35136, n: 64, flops: 5e15, bandwidth: 8e12,
  });
  // Shares of the critical batch of a normal and a fast mode.
  const fastMode = (price, speed, k) => {
    const ratio = price * speed, slope = k / ratio;
    for (const u of [speed / (1 - speed * slope), (speed - 1) / (k - speed * slope)]) {
      const fast = u / ratio, reached = relativeTime(u, k) / relativeTime(fast, k);
      if (Number.isFinite(u) && u > 0 && Math.abs(reached / speed - 1) < 1e-9) {
        return { normal: u, fast, price: relativeTime(fast, k) / fast / (relativeTime(u, k) / u) };
      }
    }
    return { normal: NaN, fast: NaN, price: NaN };
  };
  // Blocks that a Feistel network and its inverse don't give back.
  const lost = (rounds) => {
    const whole = (x) => BigInt.asUintN(64, x);
    const f = (x, round) => whole((x >> 7n) * x) ^ BigInt(round);
    let count = 0;
    for (let n = 0n; n < 64n; n++) {
      const first = [whole(n * 0x9E3779B97F4A7C15n), 0xFFFFFFFFFFFFFFFFn - n];
      let [x, y] = first;
      for (let round = 0; round < rounds; round++) [x, y] = [whole(y + f(x, round)), x];
      for (let round = rounds - 1; round >= 0; round--) [x, y] = [y, whole(x - f(y, round))];
      if (x !== first[0] || y !== first[1]) count++;
    }
    return count;
  };

  return {
    A1: (i) => {
      const t = step({
        batch: i.batch, active: i.active_params, weights: i.weight_bytes, context: i.context, kv: i.kv_bytes_per_token,
        n: i.gpus, flops: i.flops, bandwidth: i.mem_bw,
      });
      return [t.max, t.sum, t.compute, t.weights, t.kv];
    },
    A2: (i) => [relativeCost(i.batch_share_small, i.kv_ratio), null, null, null, Math.max(i.kv_ratio, 1)],
    A3: (i) => [[i.gpus, i.mem_bw], [8, 3.35e12], [8, 4.8e12], [72, 8e12]].map(([n, bw]) => i.weight_bytes / (n * bw) * 1e3),
    A4: (i) => [(i.rho * i.sparsity + i.kv_ratio) / Math.max(i.kv_ratio, 1)],
    A5: (i) => [i.flops / 2 * i.bytes_per_param / i.mem_bw],
    A6: (i) => [i.rho * i.sparsity],
    A7: (i) => {
      const sparsities = [
        i.total_params / i.active_params, i.experts / i.top_k, (i.experts + i.shared_experts) / (i.top_k + i.shared_experts),
      ];
      return [...sparsities, ...sparsities.map((s) => i.rho * s)];
    },
    A8: (i) => {
      const gpu = i.tok_s_per_node / i.gpus_per_node / i.tok_s_per_user, flying = gpu * i.ep_size;
      const batch = i.rho_h800 * (i.total_params / i.active_params);
      return [flying / batch, gpu, flying, batch];
    },
    A9: (i) => [0.5, 0.25, 0.75].map((k) => 1 / (1 - k) * (i.rho * i.sparsity)),
    A10: (i) => [i.hbm_bytes / i.mem_bw * 1e3],
    A11: (i) => [i.rubin_mem_bw, 22e12].map((bw) => i.rubin_hbm_bytes / bw * 1e3),
    A12: (i) => [2 * i.period_ms, 1.5 * i.period_ms],
    A13: (i) => [i.train_batch * i.trains_per_s, i.train_batch / 0.015, i.train_batch / 0.02],
    A14: (i) => [i.system_tok_s / i.gemini_tok_s, i.system_tok_s / (2 * i.gemini_tok_s)],
    A15: (i) => {
      const batch = (scale) => i.rho * (scale * i.total_params / (scale * i.active_params));
      return [batch(10) / batch(1)];
    },
    A16: (i) => [i.kv_ratio_long <= 1 ? 1 : 1 / i.kv_ratio_long],
    A17: (i) => {
      const mode = fastMode(i.price_ratio, i.speed_ratio, i.kv_ratio), batch = i.rho * i.sparsity;
      return [mode.price, i.price_ratio * i.speed_ratio, mode.normal, mode.fast, mode.normal * batch, mode.fast * batch];
    },
    A18: (i) => [relativeTime(i.batch_share, i.kv_ratio)],
    A19: (i) => [saving(i.batch_share, i.kv_ratio)],
    A20: (i) => [dollarsPerMtok(i.active_params, i.flops, i.usd_per_gpu_hour, 1), dollarsPerMtok(1e11, 1979e12, i.usd_per_gpu_hour, 1)],
    A21: (i) => [i.dense_equivalent / i.sparse_active],
    A22: (i) => {
      const batch = i.batch_share * i.rho * i.sparsity;
      const cost = (scale) => relativeCost(scale * batch / (i.rho * scale * i.sparsity), i.kv_ratio);
      return [cost(2) / cost(1)];
    },

    B1: (i) => [i.experts / i.gpus, i.experts / 72, Math.ceil(i.experts / 72) / (i.experts / 72)],
    B2: (i) => [2 * i.switch_layers],
    B3: (i) => [i.scale_up_bw / i.scale_out_bw],
    B4: (i) => {
      // Up from the middle, as the crate rounds.
      const outside = Math.floor((i.racks - 1) / i.racks * i.experts + 0.5);
      const share = (k) => hit(i.experts, k, outside);
      return [(i.racks - 1) / i.racks, share(i.top_k), ...[1, 2, 4, 8, 32].map(share)];
    },
    B5: (i) => {
      const across = crossing(i.racks, i.ranks_per_rack, i.throttle), flat = Math.max(across, 1 / i.racks);
      return [flat, flat / i.racks, across + 1 / i.racks, slowdown("dedup", i), slowdown("hierarchical", i)];
    },
    B6: (i) => {
      const flat = overtaking("flat", 2, i);
      return [i.global_batch / flat, overtaking("flat", 1, i), flat, overtaking("hierarchical", 2, i)];
    },
    B7: (i) => [i.dies_next / i.dies_now],
    B8: (i) => [i.ranks_per_rack * i.hbm_bytes / 1e12],
    B9: (i) => [
      i.huge_params * i.huge_bytes_per_param / (i.ranks_per_rack * i.hbm_bytes), i.huge_params * 0.5 / 1e12, i.huge_params / 1e12,
    ],
    B10: (i) => [i.mem_bw / i.mem_bw_before, null, null, 9 * (i.mem_bw / i.mem_bw_before)],
    B11: (i) => [i.top_k / i.experts],

    C1: (i) => [2, 1.5].map((bytes) => i.top_k * i.layers_per_stage * bytes / i.throttle),
    C2: (i) => [Math.max(1 - i.micro_batches / i.stages, 0)],
    C3: (i) => [i.stages],
    C4: (i) => {
      const cache = i.micro_batch * (i.context * 35136) / 64;
      return [i.stages * cache / i.stages / cache, cache / 1e9, 671e9 / (64 * i.stages) / 1e9];
    },
    C5: (i) => {
      const pass = v3(i).max, latency = (stages) => pass + stages * i.hop_us / 1e3;
      return [latency(i.stages) / pass, latency(1) / pass, latency(8) / pass, latency(i.stages)];
    },
    C6: (i) => {
      const latency = (hop) => i.period_ms + i.stages * hop, transfer = 2400 * (2 * 7168) / (64 * 50e9);
      return [latency(i.slow_hop_ms), latency(0.0056 + transfer * 1e3)];
    },
    C7: (i) => {
      const size = i.large_params * i.large_bytes_per_param, rack = i.ranks_per_rack * i.hbm_bytes;
      return [size / rack, size / 1e12, rack / 1e12];
    },
    C8: (i) => {
      const idle = (m, chunks) => (i.stages - 1) / (chunks * m + i.stages - 1);
      return [idle(i.training_micro_batches, 1), idle(32, 1), idle(i.training_micro_batches, 2), idle(32, 2)];
    },

    D1: (i) => {
      const all = i.active_params_served * i.pretrained_tokens;
      return [6 * all, quotient(6 * all, i.eta), quotient(2 * all, i.eta)];
    },
    D2: (i) => [gamma(i.eta), gamma(i.eta), quotient(6, 6 * i.eta)],
    D3: (i) => [1 / i.alpha],
    D4: (i) => [served(i.provider_tok_s, i.days_served)],
    D5: (i) => [served(i.model_tok_s, i.days_served), served(i.model_tok_s, 60)],
    D6: (i) => [20 * i.active_params_served],
    D7: (i) => [served(i.model_tok_s, i.days_served), i.pretrained_tokens, 1.5e14].map((d) => quotient(d, 20 * i.active_params_served)),
    D8: (i) => {
      const tokens = served(i.model_tok_s, i.days_served);
      return [...[i.eta, 1, 0.5].map((eta) => gamma(eta) * tokens), quotient(2 * tokens, 6 * 1.5e14)];
    },
    D10: (i) => [i.rising_exponent / i.falling_exponent],

    E1: (i) => [quotient(2 * i.active_params_priced * i.mem_bw, i.flops * i.kv_bytes_per_token)],
    E2: (i) => [[600, 1], [1979e12, 3.35e12], [5e15, 8e12], [4614e12, 7.38e12], [989.5e12, 3.35e12], [10e15, 8e12]]
      .map(([flops, bandwidth]) => cacheAtStep(i.active_params_priced, flops, bandwidth, i.price_step)),
    E3: (i) => [2 * i.head_dim * i.kv_heads * i.global_layers * i.kv_element_bytes],
    E3b: (i) => {
      const entry = i.kv_latent + i.kv_rope, kappa = entry * i.layers * i.latent_element_bytes;
      const at = (flops, bandwidth) => quotient(2 * 37e9 * bandwidth, flops * kappa);
      const work = quotient(2 * 128 * (2 * i.kv_latent + i.kv_rope), entry * i.latent_element_bytes);
      return [kappa, at(5e15, 8e12), at(1979e12, 3.35e12), work];
    },
    E4: (i) => [i.price_step * (1 + i.surcharge), Math.max(quotient(1e6, i.price_step), 1)],
    E5: (i) => {
      const u = load(i.output_ratio, i.kv_ratio);
      // The larger of two, and 1 where one is no number, as the crate has it.
      const ratio = Number.isNaN(u) ? 1 : relativeCost(u, i.kv_ratio);
      return [1 / i.output_ratio, null, null, u, ratio];
    },
    E5b: (i) => [load(i.output_ratio, i.kv_ratio_below_step)],
    E6: (i) => {
      const perHour = (i.usd_write_1h - i.usd_write_5min) / (3300 / 3600);
      const ratios = [i.usd_hit, i.usd_write_5min, i.usd_write_1h].map((usd) => usd / i.usd_input);
      return [...ratios, i.usd_write_5min - perHour * (300 / 3600), perHour];
    },
    E7: (i) => [i.hbm_bytes / i.mem_bw],
    E8: (i) => [hold(i.active_params_held, i.flops, i.hbm_bytes, i.kv_bytes_held)],
    E9: (i) => {
      const cost = (mfu) => dollarsPerMtok(i.active_params_held, i.flops, i.usd_per_gpu_hour_list, mfu);
      return [i.usd_list / cost(0.4), cost(1), cost(0.4)];
    },
    E10: (i) => [i.global_layers, 6, 61].map((layers) => quotient(i.active_params_priced, 2 * i.query_width * layers)),
    E11: (i) => {
      const longer = quotient(i.context_far, i.price_step);
      return [longer, Math.sqrt(longer)];
    },

    F1: (i) => [lost(i.rounds)],
    F2: (i) => [null, i.layers, 2 * Math.sqrt(i.layers), Math.min(i.layers, 1)],
    F3: (i) => [hold(i.active_params_held, i.flops, i.hbm_bytes, i.kv_bytes_held)],
  };
})();
