#include <algorithm>

#include "emulator/config/files.h"
#include "emulator/config/ports.h"
#include "emulator/config/readers.h"
#include "emulator/config/trace_file.h"
#include "emulator/link/jitter.h"
#include "emulator/link/loss.h"
#include "emulator/link/pfc.h"

namespace farspan::config {
namespace {

using link::AqmKind;
using link::AqmSpec;
using link::ClassSpec;
using link::JitterDistribution;
using link::JitterSpec;
using link::Keying;
using link::LossKind;
using link::LossSpec;

constexpr Rate kHighestRate{100'000'000'000'000};

constexpr Word<Keying> kKeyings[] = {{"packet", Keying::kPacket}, {"wire-time", Keying::kWireTime}};
constexpr Word<LossKind> kLossModels[] = {{"none", LossKind::kNone},
                                          {"bernoulli", LossKind::kBernoulli},
                                          {"gilbert-elliott", LossKind::kGilbertElliott},
                                          {"burst", LossKind::kBurst},
                                          {"bit-error", LossKind::kBitError},
                                          {"mask", LossKind::kMask},
                                          {"trace", LossKind::kTrace},
                                          {"periodic", LossKind::kPeriodic}};
constexpr Word<JitterDistribution> kDistributions[] = {
    {"uniform", JitterDistribution::kUniform},
    {"normal", JitterDistribution::kNormal},
    {"pareto", JitterDistribution::kPareto},
    {"paretonormal", JitterDistribution::kParetoNormal},
    {"table", JitterDistribution::kTable}};
constexpr Word<AqmKind> kAqms[] = {{"tail-drop", AqmKind::kTailDrop},
                                   {"red", AqmKind::kRed},
                                   {"step", AqmKind::kStep},
                                   {"codel", AqmKind::kCodel}};

// A table's key that one kind of it cannot do without.
void Require(Section& section, bool given, std::string_view key, std::string_view example) {
  if (given) return;
  section.fail(std::string("has no \"") + std::string(key) + "\"; expected " +
               std::string(example));
}

// A packet index, or a time where the model is keyed by wire time.
std::optional<uint64_t> ReadPoint(Section& section, const toml::node& node, std::string_view key,
                                  Keying keying) {
  if (keying == Keying::kPacket) return section.count(node, key, 0, INT64_MAX);
  if (node.is_integer()) {
    section.fail(
        node, key,
        "a count of packets needs keying = \"packet\"; expected that (the link has a rate, "
        "where \"wire-time\" is the default), or a time such as \"10 ms\"");
    return std::nullopt;
  }
  const auto time = section.quantity(node, key, ParseTime);
  return time ? std::optional(static_cast<uint64_t>(time->ns)) : std::nullopt;
}

void ReadIntervals(Section& section, LossSpec& loss) {
  for (const toml::node* node : section.elements("intervals")) {
    const toml::array* pair = node->as_array();
    if (!pair || pair->size() != 2) {
      section.fail(*node, "intervals",
                   "expected pairs: [[100, 120], ...] or [[\"1 ms\", \"2 ms\"]]");
      continue;
    }
    const auto begin = ReadPoint(section, *pair->get(0), "intervals", loss.keying);
    const auto end = ReadPoint(section, *pair->get(1), "intervals", loss.keying);
    if (begin && end) loss.trace.push_back({*begin, *end});
  }
  Require(section, !loss.trace.empty(), "intervals", "pairs of beginning and end, in order");
}

void ReadMask(Section& section, LossSpec& loss) {
  std::string mask;
  Require(section, section.read("mask", mask), "mask", "\"0010\", 1 for a lost packet");
  for (const char c : mask) {
    if (c != '0' && c != '1') {
      section.fail("mask", "expected only 0 (passes) and 1 (lost), such as \"0010\"");
      return;
    }
    loss.mask.push_back(c == '1');
  }
}

void ReadPeriodic(Section& section, LossSpec& loss) {
  const toml::node* every = section.find("every");
  Require(section, every != nullptr, "every", "a number of packets, or a time such as \"10 ms\"");
  if (const auto period = every ? ReadPoint(section, *every, "every", loss.keying) : std::nullopt) {
    loss.period = *period;
  }
  const toml::node* offset = section.find("offset");
  if (const auto at = offset ? ReadPoint(section, *offset, "offset", loss.keying) : std::nullopt) {
    loss.period_offset = *at;
  }
}

// The keys of the model that `loss.kind` says.
void ReadLossKeys(Section& section, LossSpec& loss) {
  switch (loss.kind) {
    case LossKind::kNone:
      break;
    case LossKind::kBernoulli:
      Require(section, section.read_probability("probability", loss.probability), "probability",
              "\"1e-4\"");
      break;
    case LossKind::kGilbertElliott:
      Require(section, section.read_probability("p", loss.ge_p), "p", "from good to bad, \"1e-5\"");
      Require(section, section.read_probability("r", loss.ge_r), "r", "from bad to good, \"10 %\"");
      section.read_probability("loss_bad", loss.ge_loss_bad);
      section.read_probability("loss_good", loss.ge_loss_good);
      break;
    case LossKind::kBurst:
      Require(section, section.read_probability("rate", loss.burst_rate), "rate",
              "bursts per packet, \"1e-6\"");
      Require(section, section.read_count("frames", loss.burst_frames, 1), "frames",
              "a burst's length in frames");
      break;
    case LossKind::kBitError:
      Require(section, section.read_probability("rate", loss.bit_error_rate), "rate",
              "errors per bit, \"1e-12\"");
      break;
    case LossKind::kMask:
      ReadMask(section, loss);
      break;
    case LossKind::kTrace:
      ReadIntervals(section, loss);
      break;
    case LossKind::kPeriodic:
      ReadPeriodic(section, loss);
      break;
  }
}

LossSpec ReadLossTable(Section section, Rate rate) {
  LossSpec loss;
  Require(section, section.read_word<LossKind>("model", loss.kind, kLossModels), "model",
          "\"bernoulli\", \"gilbert-elliott\", \"burst\", \"bit-error\", \"mask\", \"trace\" or "
          "\"periodic\"");
  const bool by_wire_time = rate.bits_per_s != 0 && loss.kind != LossKind::kMask;
  loss.keying = by_wire_time ? Keying::kWireTime : Keying::kPacket;
  section.read_word<Keying>("keying", loss.keying, kKeyings);
  uint64_t reference = loss.reference_wire_bytes;
  if (section.read_bytes("reference", reference)) {
    if (reference < 84 || reference > 65'536) {
      section.fail("reference", "expected 84 B to 64 KiB, a frame's octets on the wire");
    } else {
      loss.reference_wire_bytes = static_cast<uint32_t>(reference);
    }
  }
  ReadLossKeys(section, loss);
  section.finish();
  return loss;
}

void ReadDistributionTable(Section& section, const std::filesystem::path* directory,
                           JitterSpec& jitter) {
  std::string file;
  if (!section.read("table", file)) {
    if (jitter.distribution == JitterDistribution::kTable) {
      Require(section, false, "table", "a file in the format of tc's .dist files");
    }
    return;
  }
  jitter.distribution = JitterDistribution::kTable;
  if (directory == nullptr) {
    section.fail("table", "only a configuration may name files, a live change may not");
    return;
  }
  const auto text = ReadFile(*directory / file);
  if (!text) {
    section.fail("table", text.error().text());
    return;
  }
  auto table = ParseDistribution(*text, file);
  if (table) {
    jitter.table = std::move(*table);
  } else {
    section.diagnostics().fail(table.error());
  }
}

JitterSpec ReadJitterTable(Section section, const std::filesystem::path* directory) {
  JitterSpec jitter;
  Require(section, section.read("deviation", jitter.deviation), "deviation", "\"20 us\"");
  section.read_word<JitterDistribution>("distribution", jitter.distribution, kDistributions);
  section.read("correlation", jitter.correlation);
  section.read("reorder", jitter.reorder);
  ReadDistributionTable(section, directory, jitter);
  section.finish();
  return jitter;
}

void ReadLimit(Section& section, link::QueueLimit& limit) {
  const toml::node* node = section.find("limit");
  if (!node) return;
  limit = {.bytes = 0, .time = {}};
  if (const toml::table* table = node->as_table()) {
    Section both(section.diagnostics(), "limit", {{table, true}});
    both.read_bytes("bytes", limit.bytes);
    both.read("time", limit.time);
    both.finish();
  } else if (const auto text = section.text(*node, "limit")) {
    const auto time = ParseTime(*text);
    const auto bytes = ParseBytes(*text);
    if (time) limit.time = *time;
    if (bytes) limit.bytes = *bytes;
    if (!time && !bytes) {
      section.fail(*node, "limit",
                   '"' + *text +
                       "\": expected a size such as \"16 MiB\" or a waiting time such as "
                       "\"10 ms\"");
    }
  }
  if (limit.bytes == 0 && limit.time.ns == 0) {
    section.fail(*node, "limit", "expected more than 0: the packet on the wire does not count");
  }
}

void ReadAqm(Section& section, AqmSpec& aqm) {
  const toml::node* node = section.find("aqm");
  if (!node) return;
  aqm = {};
  const toml::table* table = node->as_table();
  if (!table) {
    section.read_word<AqmKind>("aqm", aqm.kind, kAqms);
    if (aqm.kind == AqmKind::kRed || aqm.kind == AqmKind::kStep) {
      section.fail("aqm",
                   "needs its thresholds: expected a table such as {kind = \"red\", k_min = "
                   "\"100 kB\", k_max = \"400 kB\", p_max = \"1 %\"}");
    }
    return;
  }
  Section keys(section.diagnostics(), "aqm", {{table, true}});
  Require(keys, keys.read_word<AqmKind>("kind", aqm.kind, kAqms), "kind",
          "\"tail-drop\", \"red\", \"step\" or \"codel\"");
  if (aqm.kind == AqmKind::kRed) {
    Require(keys, keys.read_bytes("k_min", aqm.k_min_bytes), "k_min", "\"100 kB\"");
    Require(keys, keys.read_bytes("k_max", aqm.k_max_bytes), "k_max", "\"400 kB\"");
    Require(keys, keys.read_probability("p_max", aqm.p_max), "p_max", "\"1 %\"");
    if (aqm.k_min_bytes > aqm.k_max_bytes) keys.fail("k_max", "expected at least k_min");
  } else if (aqm.kind == AqmKind::kStep) {
    Require(keys, keys.read_bytes("threshold", aqm.step_bytes), "threshold", "\"100 kB\"");
  } else if (aqm.kind == AqmKind::kCodel) {
    keys.read("target", aqm.codel_target);
    keys.read("interval", aqm.codel_interval);
  }
  keys.read("ecn", aqm.ecn);
  keys.read("drop_not_ect", aqm.drop_not_ect);
  keys.finish();
}

constexpr uint64_t kQuantaMax = 65'535;

// `pfc = {priority = 3, ...}`; what is left out is found by ResolvePfc.
void ReadPfc(Section& section, ClassSpec& spec) {
  const toml::node* node = section.find("pfc");
  if (!node) return;
  const toml::table* table = node->as_table();
  if (!table) {
    bool on = false;
    section.read("pfc", on);
    if (!on) return;
  }
  const toml::table defaults;
  Section keys(section.diagnostics(), "pfc", {{table ? table : &defaults, true}});
  link::PfcSpec& pfc = spec.pfc.emplace();
  if (!keys.read_count("priority", pfc.priority, 0, link::kPfcPriorities - 1)) {
    if (spec.pcp.size() == 1) {
      pfc.priority = spec.pcp[0];
    } else {
      section.fail("pfc", "needs the 802.1Q priority to pause: expected pfc = {priority = 3}");
    }
  }
  keys.read_bytes("xoff", pfc.xoff_bytes);
  keys.read_bytes("xon", pfc.xon_bytes);
  keys.read_count("quanta", pfc.quanta, 1, kQuantaMax);
  keys.read("line_rate", pfc.line_rate);
  keys.read("cable", pfc.cable);
  keys.read("reaction", pfc.reaction);
  keys.read("poll_gap", pfc.poll_gap);
  keys.finish();
}

ClassSpec ReadClass(Section section, ClassSpec spec) {
  Require(section, section.read("name", spec.name), "name", "a word, for counters and this file");
  for (const toml::node* node : section.elements("dscp")) {
    if (const auto dscp = ReadDscp(section, *node, "dscp")) spec.dscp.push_back(*dscp);
  }
  for (const toml::node* node : section.elements("pcp")) {
    if (const auto pcp = section.count(*node, "pcp", 0, 7)) {
      spec.pcp.push_back(static_cast<uint8_t>(*pcp));
    }
  }
  section.read_count("priority", spec.priority);
  section.read_count("weight", spec.weight, 1, 1'000'000);
  ReadLimit(section, spec.limit);
  ReadAqm(section, spec.aqm);
  ReadPfc(section, spec);
  section.finish();
  return spec;
}

void CheckClasses(Section& section, const std::vector<ClassSpec>& classes) {
  bool dscp[64] = {};
  bool pcp[8] = {};
  bool paused[link::kPfcPriorities] = {};
  for (size_t i = 0; i < classes.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (classes[i].name == classes[j].name) {
        section.fail("classes", "two are called \"" + classes[i].name + '"');
      }
    }
    if (classes[i].pfc && std::exchange(paused[classes[i].pfc->priority], true)) {
      section.fail("classes", "two pause the same priority; expected one class for each");
    }
    for (const uint8_t d : classes[i].dscp) {
      if (std::exchange(dscp[d], true)) {
        section.fail("classes", "DSCP " + std::to_string(d) + " is in two of them");
      }
    }
    for (const uint8_t p : classes[i].pcp) {
      if (std::exchange(pcp[p], true)) {
        section.fail("classes", "PCP " + std::to_string(p) + " is in two of them");
      }
    }
  }
  if (classes.size() > 64) section.fail("classes", "expected at most 64");
}

}  // namespace

void ReadRate(Section& section, Rate& rate) {
  if (!section.read("rate", rate)) return;
  if (rate.bits_per_s == 0) {
    section.fail("rate", "expected more than 0; leave it out for a link without a bottleneck");
  } else if (rate > kHighestRate) {
    section.fail("rate",
                 ToText(rate) + " is out of range; expected at most " + ToText(kHighestRate));
  }
}

std::optional<uint8_t> ReadDscp(Section& section, const toml::node& node, std::string_view key) {
  if (node.is_integer()) {
    const auto number = section.count(node, key, 0, 63);
    return number ? std::optional(static_cast<uint8_t>(*number)) : std::nullopt;
  }
  return section.quantity(node, key, ParseDscp);
}

void ReadLoss(Section& section, Rate rate, LossSpec& loss) {
  const toml::node* node = section.find("loss");
  if (!node) return;
  if (const toml::table* table = node->as_table()) {
    loss = ReadLossTable({section.diagnostics(), "loss", {{table, true}}}, rate);
  } else if (const auto p = section.quantity(*node, "loss", ParseProbability)) {
    loss = {};
    loss.kind = *p == 0 ? LossKind::kNone : LossKind::kBernoulli;
    loss.keying = rate.bits_per_s != 0 ? Keying::kWireTime : Keying::kPacket;
    loss.probability = *p;
  }
  if (section.diagnostics().failed()) return;
  if (const auto valid = link::Validate(loss, rate); !valid) {
    section.diagnostics().fail(node->source(), valid.error().message);
  }
}

void ReadJitter(Section& section, const std::filesystem::path* directory, JitterSpec& jitter) {
  const toml::node* node = section.find("jitter");
  if (!node) return;
  if (const toml::table* table = node->as_table()) {
    jitter = ReadJitterTable({section.diagnostics(), "jitter", {{table, true}}}, directory);
  } else if (const auto deviation = section.quantity(*node, "jitter", ParseTime)) {
    jitter = {};
    jitter.deviation = *deviation;
  }
  if (section.diagnostics().failed()) return;
  if (const auto valid = link::Validate(jitter); !valid) {
    section.diagnostics().fail(node->source(), valid.error().message);
  }
}

void ReadBottleneck(Section& section, link::BottleneckSpec& bottleneck) {
  ClassSpec base;
  ReadLimit(section, base.limit);
  ReadAqm(section, base.aqm);
  std::string overhead;
  if (section.read("overhead", overhead)) {
    const bool negative = overhead.starts_with('-');
    const auto bytes = ParseBytes(std::string_view(overhead).substr(negative ? 1 : 0));
    if (!bytes || *bytes > 1'000) {
      section.fail("overhead", '"' + overhead + "\": expected -1000 B to 1000 B, such as \"24 B\"");
    } else {
      bottleneck.overhead_bytes = static_cast<int32_t>(*bytes) * (negative ? -1 : 1);
    }
  }
  uint64_t mpu = 0;
  if (section.read_bytes("mpu", mpu)) {
    if (mpu > 65'536) section.fail("mpu", "expected at most 64 KiB");
    bottleneck.mpu_bytes = static_cast<uint32_t>(std::min<uint64_t>(mpu, 65'536));
  }
  bottleneck.classes = {base};
  const std::vector<const toml::table*> tables = section.tables("classes");
  if (tables.empty()) {
    ReadPfc(section, bottleneck.classes[0]);
    return;
  }
  if (section.has("pfc")) section.fail("pfc", "goes into one of the classes, where there are any");
  bottleneck.classes.clear();
  for (const toml::table* table : tables) {
    bottleneck.classes.push_back(
        ReadClass({section.diagnostics(), "a class", {{table, true}}}, base));
  }
  CheckClasses(section, bottleneck.classes);
}

}  // namespace farspan::config
