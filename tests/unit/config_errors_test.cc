// What the loader says of bad configurations: one message, its place, what was expected.

#include <gtest/gtest.h>

#include <fstream>

#include "emulator/config/loader.h"

namespace farspan::config {
namespace {

// Lines 1-10 of every file but those that say otherwise; the link's own keys begin on line 11.
constexpr std::string_view kWire = R"([[sites]]
name = "chicago"
port = "eth1"
[[sites]]
name = "new-york"
port = "eth2"
[[links]]
name = "chi-nyc"
a = "chicago"
b = "new-york"
)";

std::string ErrorOf(const std::string& toml, const Overrides& overrides = {}) {
  const auto config = LoadText(toml, "lab.toml", overrides);
  if (config) return "accepted";
  EXPECT_EQ(config.error().code, ErrorCode::kInvalid);
  return config.error().text();
}

struct Row {
  const char* keys;
  const char* expected;  // the beginning of the message
  const char* also = "";
};

void ExpectRefused(std::string_view before, std::initializer_list<Row> rows) {
  for (const Row& row : rows) {
    const std::string error = ErrorOf(std::string(before) + row.keys);
    EXPECT_EQ(error.substr(0, std::string_view(row.expected).size()), row.expected) << row.keys;
    EXPECT_NE(error.find(row.also), std::string::npos) << row.keys << "\n" << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << error;
  }
}

TEST(ConfigErrors, TheFileWithoutFaults) {
  EXPECT_EQ(ErrorOf(std::string(kWire) + "delay = \"1 ms\""), "accepted");
}

TEST(ConfigErrors, Keys) {
  ExpectRefused(
      kWire,
      {
          {"distence = \"500 km\"",
           "lab.toml:11:1: unknown key \"distence\" in link \"chi-nyc\"; did you mean "
           "\"distance\"?"},
          {"delay = \"1 ms\"\n[links.ab]\nlos = \"1e-4\"",
           "lab.toml:13:1: unknown key \"los\" in ab of link \"chi-nyc\"; did you mean \"loss\"?"},
          {"delay = \"1 ms\"\nzzz = 1",
           "lab.toml:12:1: unknown key \"zzz\" in link \"chi-nyc\"; "
           "expected one of name, a, b,"},
          {"delay = \"1 ms\"\ndelay = \"2 ms\"", "lab.toml:12:", "not valid TOML"},
          {"delay = \"1 ms\"\n[engine]\nidel = \"spin\"",
           "lab.toml:13:1: unknown key \"idel\" in [engine]; did you mean \"idle\"?"},
          {"delay = \"1 ms\"\n[engin]\n",
           "lab.toml:12:2: unknown key \"engin\" in the "
           "configuration; did you mean \"engine\"?"},
          {"delay = \"1 ms\"\nloss = {model = \"bernoulli\", probability = 1e-4, p = 1}",
           "lab.toml:12:50: unknown key \"p\" in loss; did you mean \"probability\"?"},
          {"delay = ", "lab.toml:11:", "not valid TOML"},
          {"delay 5", "lab.toml:11:", "not valid TOML"},
      });
}

TEST(ConfigErrors, LengthsAndDelays) {
  ExpectRefused(
      kWire,
      {
          {"",
           "lab.toml:7:1: ab of link \"chi-nyc\": has no length; expected one of distance, delay, "
           "rtt, route",
           "has no length"},
          {"distance = 500", "lab.toml:11:12: distance: \"500\": it has no unit",
           "expected a length such as \"350 km\""},
          {"distance = \"500\"", "lab.toml:11:12: distance: \"500\": it has no unit"},
          {"distance = \"-5 km\"", "lab.toml:11:12: distance: \"-5 km\": it must not be negative"},
          {"distance = \"5 ms\"", "lab.toml:11:12: distance: \"5 ms\": unknown unit \"ms\""},
          {"distance = [5]",
           "lab.toml:11:12: distance: is an array, expected a quantity in quotes"},
          {"distance = \"5 km\"\ndelay = \"5 ms\"", "lab.toml:12:9: delay: excludes \"distance\"",
           "expected one of distance, delay, rtt, route"},
          {"rtt = \"5 ms\"\ndelay = \"5 ms\"", "lab.toml:11:7: rtt: excludes \"delay\""},
          {"delay = \"2 min\"\ndelay = 3", "lab.toml:12:"},
          {"delay = \"61 min\"",
           "lab.toml:11:9: delay: the delay one way is 3660 s; expected at "
           "most an hour"},
          {"distance = \"500 km\"\nfiber = \"smf28\"",
           "lab.toml:12:9: fiber: unknown word \"smf28\"; expected \"smf28e\"",
           "did you mean \"smf28e\""},
          {"distance = \"500 km\"\ngroup_index = 0.9",
           "lab.toml:12:15: group_index: 0.9 is out of "
           "range; expected 1 to 2"},
          {"distance = \"500 km\"\ngroup_index = \"1.5\"",
           "lab.toml:12:15: group_index: is a string, expected a number"},
          {"delay = \"5 ms\"\namplifiers = \"80 km\"",
           "lab.toml:12:14: amplifiers: goes with a distance or a route, but \"delay\" is given"},
          {"route = [\"CHI\"]", "lab.toml:11:9: route: expected two places"},
          {"route = [\"CHI\", \"Atlantis\"]", "lab.toml:11:9: route: "},
          {"route = \"Chicago\"",
           "lab.toml:11:9: route: expected two places, as in \"Chicago, New York\"; ",
           "Chicago IL is one"},
          {"route = \"Chicgo\"", "lab.toml:11:9: route: expected two places", "\"Chicago\"?"},
          {"route = \"CHI, NYC, LHR\"", "lab.toml:11:9: route: expected two places"},
          {"route = \"CHI, Atlantis\"", "lab.toml:11:9: route: no metro"},
          {"route = 5", "lab.toml:11:9: route: is an integer"},
          {"[links.ab]\ndistance = \"5 km\"",
           "lab.toml:7:1: ba of link \"chi-nyc\": has no length"},
      });
}

TEST(ConfigErrors, LossAndJitter) {
  ExpectRefused(
      "[[sites]]\nname=\"a\"\nport=\"e1\"\n[[sites]]\nname=\"b\"\nport=\"e2\"\n[[links]]\n"
      "name=\"w\"\na=\"a\"\nb=\"b\"\ndelay=\"1 ms\"\n",
      {
          {"loss = 1",
           "lab.toml:12:8: loss: \"1\": a bare number of 0.1 or more could be meant as "
           "percent: write \"1 %\""},
          {"loss = 0.5", "lab.toml:12:8: loss: \"0.5\": a bare number"},
          {"loss = \"100 %\"", "lab.toml:12:8: loss: ", "expected a fraction from 0 to below 1"},
          {"loss = \"101 %\"", "lab.toml:12:8: loss: \"101 %\": it is more than 100 %"},
          {"loss = -1e-4", "lab.toml:12:8: loss: \"-1e-04\": it must not be negative"},
          {"loss = nan", "lab.toml:12:8: loss: \"nan\": it does not begin with a number"},
          {"loss = true", "lab.toml:12:8: loss: is true or false, expected a quantity in quotes"},
          {"loss = {p = 1}", "lab.toml:12:9: unknown key \"p\" in loss"},
          {"loss = {}", "lab.toml:12:8: loss: has no \"model\"; expected \"bernoulli\""},
          {"loss = {model = \"gilbert-eliott\"}",
           "lab.toml:12:17: model: unknown word \"gilbert-eliott\"",
           "did you mean \"gilbert-elliott\"?"},
          {"loss = {model = \"gilbert-elliott\", p = \"1 %\"}",
           "lab.toml:12:8: loss: has no \"r\""},
          {"loss = {model = \"gilbert-elliott\", p = \"1 %\", r = 0.5}",
           "lab.toml:12:51: r: \"0.5\""},
          {"loss = {model = \"bernoulli\", probability = \"1 %\", keying = \"wire-time\"}",
           "lab.toml:12:8: loss: ", "rate"},
          {"loss = {model = \"mask\", mask = \"012\"}", "lab.toml:12:32: mask: expected only 0"},
          {"loss = {model = \"burst\", rate = 1e-6, frames = 0}",
           "lab.toml:12:48: frames: 0 is out "
           "of range; expected 1 to"},
          {"loss = {model = \"burst\", rate = 1e-6, frames = \"3\"}",
           "lab.toml:12:48: frames: is a string, expected a whole number"},
          {"loss = {model = \"trace\", intervals = [[1, 2, 3]]}", "lab.toml:12:39: intervals: "},
          {"loss = {model = \"trace\", intervals = [[5, 2]]}", "lab.toml:12:8: loss: "},
          {"rate = \"1 Gbps\"\nloss = {model = \"periodic\", every = 1000}",
           "lab.toml:13:37: every: a count of packets needs keying = \"packet\""},
          {"loss = {model = \"periodic\", every = \"1 ms\"}",
           "lab.toml:12:37: every: is a string, expected a whole number"},
          {"jitter = 20", "lab.toml:12:10: jitter: \"20\": it has no unit"},
          {"jitter = {distribution = \"normal\"}", "lab.toml:12:10: jitter: has no \"deviation\""},
          {"jitter = {deviation = \"20 us\", distribution = \"gauss\"}",
           "lab.toml:12:47: distribution: unknown word \"gauss\""},
          {"jitter = {deviation = \"20 us\", distribution = \"table\"}",
           "lab.toml:12:10: jitter: has no \"table\""},
          {"jitter = {deviation = \"20 us\", table = \"no.dist\"}",
           "lab.toml:12:40: table: no.dist: "
           "cannot read it: no such file"},
          {"duplicate = 0.5", "lab.toml:12:13: duplicate: \"0.5\""},
          {"order = \"fibre\"", "lab.toml:12:9: order: unknown word \"fibre\"",
           "did you mean \"fiber\"?"},
      });
}

TEST(ConfigErrors, QueuesLanesTimelineTraces) {
  ExpectRefused(
      "[[sites]]\nname=\"a\"\nport=\"e1\"\n[[sites]]\nname=\"b\"\nport=\"e2\"\n[[links]]\n"
      "name=\"w\"\na=\"a\"\nb=\"b\"\ndistance=\"100 km\"\n",
      {
          {"rate = \"0 bps\"", "lab.toml:12:8: rate: expected more than 0"},
          {"rate = \"200 Tbps\"",
           "lab.toml:12:8: rate: 200 Tbps is out of range; expected at most "
           "100 Tbps"},
          {"rate = \"10 GB/s\"", "lab.toml:12:8: rate: \"10 GB/s\": unknown unit \"GB/s\""},
          {"limit = \"10 ms\"", "lab.toml:12:9: limit: needs a \"rate\""},
          {"rate = \"1 Gbps\"\nlimit = \"0 B\"", "lab.toml:13:9: limit: expected more than 0"},
          {"rate = \"1 Gbps\"\nlimit = \"10\"",
           "lab.toml:13:9: limit: \"10\": expected a size such as \"16 MiB\" or a waiting time"},
          {"rate = \"1 Gbps\"\naqm = \"red\"", "lab.toml:13:7: aqm: needs its thresholds"},
          {"rate = \"1 Gbps\"\naqm = {kind=\"red\", k_min=\"2 B\", k_max=\"1 B\", p_max=\"1 %\"}",
           "lab.toml:13:39: k_max: expected at least k_min"},
          {"rate = \"1 Gbps\"\naqm = {kind=\"step\"}", "lab.toml:13:7: aqm: has no \"threshold\""},
          {"rate = \"1 Gbps\"\nclasses = [{dscp = [46]}]",
           "lab.toml:13:12: a class: has no \"name\""},
          {"rate = \"1 Gbps\"\nclasses = [{name=\"x\", dscp = [64]}]",
           "lab.toml:13:31: dscp: 64 is out of range; expected 0 to 63"},
          {"rate = \"1 Gbps\"\nclasses = [{name=\"x\", dscp = [\"AF99\"]}]",
           "lab.toml:13:31: dscp: \"AF99\": expected a DSCP"},
          {"rate = \"1 Gbps\"\nclasses = [{name=\"x\", dscp=[1]}, {name=\"y\", dscp=[1]}]",
           "lab.toml:13:11: classes: DSCP 1 is in two of them"},
          {"rate = \"1 Gbps\"\nclasses = [{name=\"x\"}, {name=\"x\"}]",
           "lab.toml:13:11: classes: two are called \"x\""},
          {"lanes = [{wieght = 2}]", "lab.toml:12:11: unknown key \"wieght\" in a lane",
           "did you mean \"weight\"?"},
          {"lanes = [3]", "lab.toml:12:10: lanes: is an integer, expected a table in an array"},
          {"timeline = [{action = \"cut\"}]",
           "lab.toml:12:13: a timeline event: has neither \"at\""},
          {"timeline = [{at = \"1 s\"}]", "lab.toml:12:13: a timeline event: has no \"action\""},
          {"timeline = [{at = \"1 s\", after = \"1 s\", action = \"cut\"}]",
           "lab.toml:12:34: after: excludes \"at\""},
          {"timeline = [{at = \"1 s\", action = \"cutt\"}]", "lab.toml:12:35: action: unknown word",
           "did you mean \"cut\"?"},
          {"timeline = [{at = \"1 s\", action = \"cut\", position = \"101 km\"}]",
           "lab.toml:12:53: position: 101 km is beyond the path, which has 100 km of glass"},
          {"timeline = [{at = \"1 s\", action = \"cut\", lane = 1}]",
           "lab.toml:12:49: lane: 1 is out of range; expected 0 to 0"},
          {"timeline = [{at = \"1 s\", action = \"rate\"}]",
           "lab.toml:12:13: a timeline event: has no \"rate\""},
          {"timeline = [{at = \"1 s\", action = \"path\"}]",
           "lab.toml:12:13: a timeline event: has no path; expected one of distance"},
          {"timeline = [{after = \"1 s\", action = \"cut\"}]",
           "lab.toml:12:13: a timeline event: waits for a trigger (\"after\"), but has no "
           "\"name\""},
          {"traces = {rate = \"no.csv\"}",
           "lab.toml:12:18: rate: no.csv: cannot read it: no such "
           "file"},
          {"traces = {speed = \"no.csv\"}", "lab.toml:12:11: unknown key \"speed\" in traces"},
      });
}

TEST(ConfigErrors, Rules) {
  ExpectRefused(
      std::string(kWire) + "delay = \"1 ms\"\n",
      {
          {"rules = [{nth = 1}]", "lab.toml:12:10: a rule: has no \"action\""},
          {"rules = [{nth = 0, action = \"drop\"}]", "lab.toml:12:17: nth: 0 is out of range"},
          {"rules = [{src = \"10.0.0.1/33\", action = \"drop\"}]",
           "lab.toml:12:17: src: \"10.0.0.1/33\": expected an IP prefix", "at most /32"},
          {"rules = [{src = \"10.0.0.1/24\", action = \"drop\"}]",
           "lab.toml:12:17: src: \"10.0.0.1/24\": expected no bits set beyond the prefix's length"},
          {"rules = [{dst_port = \"9-8\", action = \"drop\"}]",
           "lab.toml:12:22: dst_port: \"9-8\""},
          {"rules = [{action = \"trigger\", event = \"x\"}]",
           "lab.toml:12:39: event: no timeline event \"x\" waits for a trigger"},
          {"rules = [{action = \"delay\"}]", "lab.toml:12:10: delay: goes with action = \"delay\""},
          {"rules = [{match = \"udp dscp=99\", action = \"drop\"}]",
           "lab.toml:12:19: dscp: 99 is out of range"},
          {"rules = [{match = \"udp tpc\", action = \"drop\"}]",
           "lab.toml:12:19: match: \"tpc\" is no KEY=VALUE", "did you mean \"tcp\"?"},
          {"rules = [{match = \"dcsp=9\", action = \"drop\"}]",
           "lab.toml:12:19: unknown key \"dcsp\" in a rule; did you mean \"dscp\"?"},
          {"rules = [{match = \"udp\", protocol = 6, action = \"drop\"}]",
           "lab.toml:12:19: match: has \"protocol\", which is given by itself too"},
          {"rules = [{name = \"r2\", action = \"drop\"}, {action = \"drop\"}]",
           "lab.toml:12:9: rules: two rules are called \"r2\""},
          {"rules = [{after = \"r2\", action = \"drop\"}]",
           "lab.toml:12:19: after: no rule of this direction is called \"r2\""},
      });
}

TEST(ConfigErrors, SitesAndShape) {
  const auto with = [](std::string_view text) { return ErrorOf(std::string(text)); };
  EXPECT_EQ(with("").substr(0, 54), "lab.toml:1:1: the configuration: has 0 sites; expected");
  EXPECT_NE(
      with("[[sites]]\nname = \"a\"\n").find("lab.toml:1:1: site \"a\": has no \"port\"; expec"),
      std::string::npos);
  EXPECT_NE(with("[[sites]]\nport = \"e1\"\n").find("lab.toml:1:1: site: has no \"name\""),
            std::string::npos);
  EXPECT_NE(with("[[sites]]\nname = \"a b\"\nport = \"e1\"\n").find("lab.toml:2:8: name: \"a b\""),
            std::string::npos);
  EXPECT_NE(
      with("[[sites]]\nname = \"a\"\nport = \"an-interface-too-long\"\n")
          .find("lab.toml:3:8: port: \"an-interface-too-long\": expected an interface name of "
                "at most 15 characters"),
      std::string::npos);
  EXPECT_NE(with("[[sites]]\nname=\"a\"\nport=\"e1\"\n[[sites]]\nname=\"a\"\nport=\"e2\"\n")
                .find("lab.toml:5:6: name: \"a\" is taken"),
            std::string::npos);
  EXPECT_NE(
      with("[[sites]]\nname=\"a\"\nport=\"e1\"\n[[sites]]\nname=\"b\"\nport=\"af_packet:e1\"\n")
          .find("lab.toml:6:6: port: \"af_packet:e1\" is site \"a\"'s already"),
      std::string::npos);
  EXPECT_NE(with("mode = \"mash\"")
                .find("lab.toml:1:8: mode: unknown word \"mash\"; expected "
                      "\"wire\", \"mesh\": did you mean \"mesh\"?"),
            std::string::npos);
  EXPECT_NE(with("seed = -1").find("lab.toml:1:8: seed: -1 is out of range"), std::string::npos);
  EXPECT_NE(with("sites = 3").find("lab.toml:1:9: sites: is an integer, expected an array"),
            std::string::npos);
  EXPECT_NE(with("forwarding = \"mac\"").find("lab.toml:1:14: forwarding: goes with mode"),
            std::string::npos);
}

TEST(ConfigErrors, Links) {
  const std::string_view sites =
      "[[sites]]\nname=\"chicago\"\nport=\"e1\"\n[[sites]]\nname=\"dallas\"\nport=\"e2\"\n";
  ExpectRefused(
      sites,
      {
          {"", "lab.toml:1:1: the configuration: has no link; expected [[links]]"},
          {"[[links]]\nname=\"w\"\na=\"chicgo\"\nb=\"dallas\"\ndelay=\"1 ms\"",
           "lab.toml:9:3: a: no site is called \"chicgo\"; did you mean \"chicago\"?"},
          {"[[links]]\nname=\"w\"\na=\"chicago\"\nb=\"zz\"\ndelay=\"1 ms\"",
           "lab.toml:10:3: b: no site is called \"zz\"; expected one of chicago, dallas"},
          {"[[links]]\nname=\"w\"\na=\"chicago\"\ndelay=\"1 ms\"",
           "lab.toml:7:1: link \"w\": has no \"b\"; expected a site's name: chicago, dallas"},
          {"[[links]]\nname=\"w\"\na=\"chicago\"\nb=\"chicago\"\ndelay=\"1 ms\"",
           "lab.toml:10:3: b: a link joins two different sites"},
          {"[[links]]\nname=\"w\"\na=\"chicago\"\nb=\"dallas\"\ndelay=\"1 ms\"\n"
           "[[links]]\nname=\"v\"\na=\"chicago\"\nb=\"dallas\"\ndelay=\"1 ms\"",
           "lab.toml:12:1: a wire is one link"},
          {"[[links]]\nname=\"w\"\na=\"chicago\"\nb=\"dallas\"\ndelay=\"1 ms\"\nunmatched=\"drop\"",
           "lab.toml:12:11: unmatched: unknown word \"drop\"; expected \"default\", \"bypass\""},
          {"[[links]]\nname=\"w\"\na=\"chicago\"\nb=\"dallas\"\ndelay=\"1 ms\"\nab = \"x\"",
           "lab.toml:12:6: ab: is a string, expected a table"},
          {"[[sites]]\nname=\"c\"\nport=\"e3\"\n[[links]]\nname=\"w\"\na=\"chicago\"\n"
           "b=\"dallas\"\ndelay=\"1 ms\"",
           "lab.toml:7:1: a wire has two sites; expected mode = \"mesh\" for more"},
      });
}

TEST(ConfigErrors, Mesh) {
  const std::string_view mesh =
      "mode = \"mesh\"\n"
      "[[sites]]\nname=\"a\"\nport=\"e1\"\nprefixes=[\"10.0.1.0/24\"]\n"
      "[[sites]]\nname=\"b\"\nport=\"e2\"\n";
  const std::string_view links = "[[links]]\nname=\"ab\"\na=\"a\"\nb=\"b\"\ndelay=\"1 ms\"\n";
  EXPECT_EQ(ErrorOf(std::string(mesh) + "prefixes=[\"10.0.2.0/24\"]\n" + std::string(links)),
            "accepted");
  EXPECT_EQ(ErrorOf("forwarding = \"mac\"\n" + std::string(mesh) + std::string(links)), "accepted");
  EXPECT_EQ(ErrorOf(std::string(mesh) + std::string(links))
                .find("lab.toml:6:1: site \"b\" has no \"prefixes\", by which a mesh forwards"),
            0u);
  EXPECT_EQ(ErrorOf(std::string(mesh) + "prefixes=[\"10.0.1.0/24\"]\n" + std::string(links))
                .find("lab.toml:9:11: prefixes: 10.0.1.0/24 is at site \"a\" too"),
            0u);
  EXPECT_EQ(ErrorOf(std::string(mesh) + "prefixes=[\"10.0.2.0/24\"]\n" + std::string(links) +
                    "[[links]]\nname=\"ba\"\na=\"b\"\nb=\"a\"\ndelay=\"1 ms\"\n")
                .find("lab.toml:15:1: another link joins \"b\" and \"a\" already"),
            0u);
  EXPECT_EQ(ErrorOf(std::string(mesh) + "egress = {limit = \"1 MB\"}\n" + std::string(links))
                .find("lab.toml:9:10: the egress of site \"b\": has no \"rate\""),
            0u);
}

TEST(ConfigErrors, Engine) {
  ExpectRefused(
      "[engine]\n",
      {
          {"http = \"0.0.0.0:9464\"",
           "lab.toml:2:8: http: \"0.0.0.0:9464\" can be reached from "
           "other machines; expected a \"token_file\""},
          {"http = \"9464\"", "lab.toml:2:8: http: \"9464\": expected HOST:PORT"},
          {"http = \"127.0.0.1:99999\"", "lab.toml:2:8: http: "},
          {"http = \"unix:x\"", "lab.toml:2:8: http: expected an absolute path"},
          {"idle = \"spinn\"", "lab.toml:2:8: idle: unknown word \"spinn\"",
           "did you mean \"spin\""},
          {"mtu = 1500", "lab.toml:2:7: mtu: \"1500\": it has no unit"},
          {"mtu = \"1 MB\"", "lab.toml:2:7: mtu: expected 68 B to 65535 B"},
          {"plan_frame = \"10 B\"", "lab.toml:2:14: plan_frame: expected 64 B"},
          {"max_packet_rate = \"12 Mbps\"",
           "lab.toml:2:19: max_packet_rate: \"12 Mbps\": unknown "
           "unit \"Mbps\" (know pps"},
          {"lcores = [-1]", "lab.toml:2:11: lcores: -1 is out of range"},
          {"duration = \"0 s\"", "lab.toml:2:12: duration: expected more than 0"},
          {"memory = \"4 Gb\"", "lab.toml:2:10: memory: \"4 Gb\": unknown unit"},
          {"observer = {queue_pairs = 0}", "lab.toml:2:27: queue_pairs: 0 is out of range"},
          {"observer = {icrcs = true}", "lab.toml:2:13: unknown key \"icrcs\"", "\"icrc\""},
          {"capture = {max = \"1 MB\"}", "lab.toml:2:11: [engine.capture]: has no \"file\""},
          {"[engine.budgets]\nclock = 3", "lab.toml:3:1: unknown key \"clock\" in [engine.budgets]",
           "clock_ppm"},
          {"[engine.budgets.pci]\nlateness_p50 = 3", "lab.toml:3:16: lateness_p50: \"3\""},
          {"headroom = \"5 ms\"", "lab.toml:2:12: headroom: is a string, expected a table"},
      });
}

TEST(ConfigErrors, Overrides) {
  const std::string file = std::string(kWire) + "delay = \"1 ms\"";
  const auto error = [&](const char* text) { return ErrorOf(file, {text}); };
  EXPECT_EQ(error("link.chi-nyc.loss=1").find("--set link.chi-nyc.loss=1: loss: \"1\": a bare"),
            0u);
  EXPECT_EQ(error("link.chi-nyc.lss=1")
                .find("--set link.chi-nyc.lss=1: unknown key \"lss\" in link "
                      "\"chi-nyc\"; did you mean \"loss\"?"),
            0u);
  EXPECT_EQ(error("link.chi-nyk.loss=0"),
            "--set link.chi-nyk.loss=0: no link is called \"chi-nyk\"; did you mean \"chi-nyc\"?");
  EXPECT_EQ(error("site.boston.port=eth9")
                .find("--set site.boston.port=eth9: no site is called "
                      "\"boston\"; expected chicago new-york"),
            0u);
  EXPECT_EQ(error("nonsense").find("--set nonsense: expected KEY=VALUE"), 0u);
  EXPECT_EQ(error("link.loss=1").find("--set link.loss=1: expected link.NAME.KEY=VALUE"), 0u);
  EXPECT_EQ(error("a b=1").find("--set a b=1: expected KEY=VALUE"), 0u);
  EXPECT_EQ(error("link.chi-nyc.ab.dely=1")
                .find("--set link.chi-nyc.ab.dely=1: unknown key \"dely\" "
                      "in ab of link \"chi-nyc\"; did you mean "),
            0u);
}

TEST(ConfigErrors, Files) {
  EXPECT_EQ(LoadFile("/nonexistent/lab.toml").error().text(),
            "/nonexistent/lab.toml: cannot read it: no such file");
  EXPECT_EQ(LoadFile(testing::TempDir()).error().message, "cannot read it: it is a directory");
  const std::filesystem::path directory = testing::TempDir();
  const auto trace_error = [&](std::string_view csv) {
    std::ofstream(directory / "bad.csv") << csv;
    const auto config = LoadText(
        std::string(kWire) + "delay = \"1 ms\"\nrate = \"1 Gbps\"\ntraces = {rate = \"bad.csv\"}",
        "lab.toml", {}, directory);
    return config ? "accepted" : config.error().text();
  };
  EXPECT_EQ(trace_error("time [s],rate [Mbps]\n0,1\n1,2\n"), "accepted");
  EXPECT_EQ(trace_error("0,1 Mbps").find("bad.csv:1:1: \"0\": it has no unit"), 0u);
  EXPECT_EQ(trace_error("0 s,1").find("bad.csv:1:5: \"1\": it has no unit"), 0u);
  EXPECT_EQ(trace_error("0 s").find("bad.csv:1:1: expected two columns"), 0u);
  EXPECT_EQ(trace_error("0 s,1 Mbps,2").find("bad.csv:1:1: expected two columns"), 0u);
  EXPECT_EQ(trace_error("# nothing\n\n").find("bad.csv:2:1: no rows"), 0u);
  EXPECT_EQ(trace_error("1 s,1 Mbps\n1 s,2 Mbps").find("bad.csv:2:1: 1 s does not come after"), 0u);
  EXPECT_EQ(
      trace_error("time [s],rate\n1,5 Mbps\n2,-5 Mbps").find("bad.csv:3:3: \"-5 Mbps\": it must"),
      0u);
}

TEST(ConfigErrors, Pfc) {
  const std::string wire = std::string(kWire) + "delay = \"1 ms\"\nrate = \"40 Gbps\"\n";
  ExpectRefused(
      wire,
      {{"pfc = true", "lab.toml:13:7: pfc: needs the 802.1Q priority to pause"},
       {"pfc = {priority = 8}", "lab.toml:13:19: priority: 8 is out of range"},
       {"pfc = {priority = 3, xof = \"1 MB\"}", "lab.toml:13:22: unknown key \"xof\""},
       {"pfc = {priority = 3}",
        "link \"chi-nyc\", ab, pfc of class \"default\": needs the sender's line rate",
        "port_rate at site \"chicago\""},
       {"pfc = {priority = 3, line_rate = \"100 Gbps\", poll_gap = \"20 us\"}\nlimit = \"100 kB\"",
        "link \"chi-nyc\", ab, pfc of class \"default\": its headroom is 29"},
       {"pfc = {priority = 3, line_rate = \"10 Gbps\", xoff = \"1 MB\", xon = \"1 MB\"}",
        "link \"chi-nyc\", ab, pfc of class \"default\": xon is 1000000 bytes, xoff 1000000"},
       {"pfc = {priority = 3, line_rate = \"10 Gbps\", xoff = \"20 MB\"}",
        "link \"chi-nyc\", ab, pfc of class \"default\": xoff is 20000000 bytes"},
       {"pfc = {priority = 3, line_rate = \"10 Gbps\"}\nlimit = \"10 ms\"",
        "link \"chi-nyc\", ab, pfc of class \"default\": needs a limit in bytes"},
       {"pfc = {priority = 3, line_rate = \"400 Gbps\"}\nlimit = \"200 MB\"",
        "link \"chi-nyc\", ab, pfc of class \"default\": 65535 quanta are 83.884 us at 400 Gbps, "
        "too short"},
       {"overhead = \"24 B\"\npfc = {priority = 3, line_rate = \"10 Gbps\"}",
        "link \"chi-nyc\", ab, pfc of class \"default\": does not go with overhead"},
       {"[[links.classes]]\nname = \"x\"\n[[links.classes]]\nname = \"y\"\npcp = [3]\npfc = true",
        "link \"chi-nyc\", ab, pfc of class \"y\": needs the sender's line rate"},
       {"pfc = {priority = 3}\n[[links.classes]]\nname = \"x\"",
        "lab.toml:13:7: pfc: goes into one of the classes"},
       {"[[links.classes]]\nname = \"x\"\npcp = [3]\npfc = true\n[[links.classes]]\nname = \"y\"\n"
        "pfc = {priority = 3}",
        "lab.toml:13:1: classes: two pause the same priority"}});
  ExpectRefused(
      kWire, {{"delay = \"1 ms\"\npfc = {priority = 3}", "lab.toml:12:7: pfc: needs a \"rate\""}});
  EXPECT_EQ(ErrorOf(wire + "pfc = {priority = 3, line_rate = \"10 Gbps\"}"), "accepted");
}

TEST(ConfigErrors, SendAhead) {
  const auto with = [](const std::string& value) {
    return ErrorOf(std::string(kWire) + "delay = \"1 ms\"\n", {"site.chicago.send_ahead=" + value});
  };
  EXPECT_EQ(with("1 ms"), "accepted");
  EXPECT_EQ(with("0 s"), "accepted");
  EXPECT_NE(with("1001 us").find("send_ahead: expected at most 1 ms"), std::string::npos);
  EXPECT_NE(with("50").find("send_ahead"), std::string::npos);
}

TEST(ConfigErrors, PausePolicy) {
  const auto with = [](const std::string& key) {
    return ErrorOf("[[sites]]\nname = \"a\"\nport = \"eth1\"\n" + key +
                   "\n[[sites]]\nname = \"b\"\nport = \"eth2\"\n[[links]]\nname = \"l\"\n"
                   "a = \"a\"\nb = \"b\"\ndelay = \"1 ms\"\n");
  };
  EXPECT_EQ(with("pause = \"drop\""), "accepted");
  EXPECT_EQ(with("pause = \"consume\"\negress = {rate = \"10 Gbps\"}"), "accepted");
  EXPECT_NE(with("pause = \"consume\"").find("needs an \"egress\""), std::string::npos);
  EXPECT_NE(with("pause = \"stop\"").find("\"stop\""), std::string::npos);
  EXPECT_NE(
      with("egress = {rate = \"10 Gbps\", pfc = {priority = 3}}").find("asks nobody to pause"),
      std::string::npos);
}

}  // namespace
}  // namespace farspan::config
