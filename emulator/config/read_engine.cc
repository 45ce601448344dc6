#include "emulator/config/read_engine.h"

#include <charconv>

#include "emulator/base/units.h"

namespace farspan::config {
namespace {

constexpr Word<IdlePolicy> kIdles[] = {
    {"auto", IdlePolicy::kAuto}, {"spin", IdlePolicy::kSpin}, {"sleep", IdlePolicy::kSleep}};

bool IsLoopback(std::string_view host) {
  return host == "localhost" || host == "[::1]" || host.starts_with("127.");
}

void CheckHttp(Section& section, const EngineSpec& engine) {
  const std::string& http = engine.http;
  if (http == "off") return;
  if (http.starts_with("unix:")) {
    if (!http.starts_with("unix:/")) section.fail("http", "expected an absolute path: unix:/...");
    return;
  }
  const size_t colon = http.rfind(':');
  const std::string_view host = std::string_view(http).substr(0, colon);
  const std::string digits = colon == std::string::npos ? "" : http.substr(colon + 1);
  uint16_t port = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (host.empty() || parsed.ec != std::errc{} || parsed.ptr != digits.data() + digits.size()) {
    section.fail("http", '"' + http +
                             "\": expected HOST:PORT such as \"127.0.0.1:9464\", "
                             "\"unix:/path\" or \"off\"");
  } else if (!IsLoopback(host) && engine.token_file.empty()) {
    section.fail("http", '"' + http +
                             "\" can be reached from other machines; expected a "
                             "\"token_file\" that only its owner can read");
  }
}

void ReadBudget(Section section, PortBudget& budget) {
  section.read("lateness_p50", budget.lateness_p50);
  section.read("lateness_p99", budget.lateness_p99);
  section.read("lateness_max", budget.lateness_max);
  section.read("arrival_p99", budget.arrival_p99);
  section.finish();
}

void ReadBudgets(Section section, Budgets& budgets) {
  ReadBudget(section.child("pci", "[engine.budgets.pci]"), budgets.pci);
  ReadBudget(section.child("software", "[engine.budgets.software]"), budgets.software);
  section.read_number("clock_ppm", budgets.clock_ppm, 0, 1e6);
  section.finish();
}

void ReadCapture(Section& section, CaptureSpec& capture) {
  const toml::node* node = section.find("capture");
  if (!node) return;
  const toml::table* table = node->as_table();
  if (!table) {
    section.read("capture", capture.file);
    return;
  }
  Section keys(section.diagnostics(), "[engine.capture]", {{table, true}});
  if (!keys.read("file", capture.file)) keys.fail("has no \"file\"; expected \"run.pcapng\"");
  keys.read_bytes("max", capture.max_bytes);
  uint64_t snap = capture.snap_bytes;
  if (keys.read_bytes("snap", snap)) {
    if (snap < 14 || snap > 65'536) keys.fail("snap", "expected 14 B to 64 KiB");
    capture.snap_bytes = static_cast<uint32_t>(snap);
  }
  keys.finish();
}

void ReadObserver(Section section, roce::ObserverSpec& observer) {
  section.read("enabled", observer.enabled);
  section.read_count("queue_pairs", observer.queue_pairs, 1, 1u << 20);
  section.read("icrc", observer.check_icrc);
  section.finish();
}

void ReadHeadroom(Section section, EngineSpec& engine) {
  section.read("delay", engine.headroom_delay);
  section.read("rate", engine.headroom_rate);
  section.finish();
}

}  // namespace

void ReadEngine(Section section, EngineSpec& engine) {
  section.read("http", engine.http);
  section.read("token_file", engine.token_file);
  CheckHttp(section, engine);
  section.read_word<IdlePolicy>("idle", engine.idle, kIdles);
  for (const toml::node* node : section.elements("lcores")) {
    const auto cpu = section.count(*node, "lcores", 0, 4095);
    if (cpu) engine.lcores.push_back(static_cast<uint32_t>(*cpu));
  }
  uint64_t mtu = engine.mtu;
  if (section.read_bytes("mtu", mtu)) {
    if (mtu < 68 || mtu > 65'535) section.fail("mtu", "expected 68 B to 65535 B, an IP packet");
    engine.mtu = static_cast<uint32_t>(mtu);
  }
  uint64_t frame = engine.plan_frame_bytes;
  if (section.read_bytes("plan_frame", frame)) {
    if (frame < 64 || frame > uint64_t{engine.mtu} + 26) {
      section.fail("plan_frame",
                   "expected 64 B (the smallest frame with its FCS) up to the MTU's "
                   "frame");
    }
    engine.plan_frame_bytes = static_cast<uint32_t>(frame);
  }
  if (const toml::node* node = section.find("max_packet_rate")) {
    const auto rate = section.quantity(*node, "max_packet_rate", ParsePacketRate);
    if (rate && *rate == 0) section.fail("max_packet_rate", "expected more than 0");
    engine.max_packet_rate = rate.value_or(0);
  }
  ReadHeadroom(section.child("headroom", "[engine.headroom]"), engine);
  section.read_bytes("memory", engine.memory_bytes);
  if (section.read("duration", engine.duration) && engine.duration.ns == 0) {
    section.fail("duration", "expected more than 0");
  }
  ReadBudgets(section.child("budgets", "[engine.budgets]"), engine.budgets);
  ReadCapture(section, engine.capture);
  ReadObserver(section.child("observer", "[engine.observer]"), engine.observer);
  section.finish();
}

}  // namespace farspan::config
