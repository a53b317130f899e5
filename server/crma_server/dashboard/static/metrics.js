// Reading Prometheus' text: what each version of each adapter did.

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

export function parse(text) {
  const samples = [];
  for (const line of text.split("\n")) {
    if (!line.startsWith("crma_")) continue;
    const found = LINE.exec(line);
    if (!found) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(LABEL)) labels[name] = value;
    samples.push({ name: found[1], labels, value: found[3] === "+Inf" ? Infinity : Number(found[3]) });
  }
  return samples;
}

// By "adapter@version": answers, unfinished, tokens, in flight, and two histograms.
export function traffic(samples) {
  const versions = new Map();
  const of = (labels) => {
    const key = `${labels.adapter}@${labels.version}`;
    if (!versions.has(key)) {
      versions.set(key, {
        answers: 0, unfinished: 0, read: 0, written: 0, inFlight: 0,
        firstToken: new Map(), answer: new Map(),
      });
    }
    return versions.get(key);
  };
  for (const { name, labels, value } of samples) {
    if (labels.version === undefined || labels.adapter === undefined) continue;
    if (name === "crma_adapter_answers_total") {
      of(labels).answers += value;
      if (labels.finished === "no") of(labels).unfinished += value;
    } else if (name === "crma_adapter_prompt_tokens_total") of(labels).read += value;
    else if (name === "crma_adapter_generated_tokens_total") of(labels).written += value;
    else if (name === "crma_adapter_in_flight") of(labels).inFlight += value;
    else if (name === "crma_adapter_first_token_seconds_bucket") bucket(of(labels).firstToken, labels, value);
    else if (name === "crma_adapter_answer_seconds_bucket") bucket(of(labels).answer, labels, value);
  }
  return versions;
}

// With CRMA and without it are two series of one version, so they are added up.
const bucket = (histogram, labels, value) => {
  const edge = labels.le === "+Inf" ? Infinity : Number(labels.le);
  histogram.set(edge, (histogram.get(edge) ?? 0) + value);
};

// As Prometheus' histogram_quantile: linear within a bucket; the last edge for what is beyond it.
export function quantile(histogram, share) {
  const edges = [...histogram.entries()].sort((a, b) => a[0] - b[0]);
  const total = edges.length ? edges[edges.length - 1][1] : 0;
  if (!total) return null;
  const rank = share * total;
  let below = 0, lower = 0;
  for (const [edge, cumulative] of edges) {
    if (cumulative >= rank) {
      if (edge === Infinity) return lower;
      return lower + ((edge - lower) * (rank - below)) / (cumulative - below || 1);
    }
    below = cumulative;
    lower = edge;
  }
  return lower;
}
