// What the verbs driver builds and reads, without a device.
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <numeric>
#include <string>
#include <vector>

#include "transports/baselines/rc_queue_pairs.h"
#include "transports/drivers/verbs/address_handles.h"
#include "transports/drivers/verbs/failure.h"
#include "transports/drivers/verbs/send_ring.h"
#include "transports/drivers/verbs/ud_address.h"

namespace farspan::verbs {
namespace {

using namespace farspan::literals;
using transport::Address;
using transport::TxSlot;

constexpr UdAddress kPeer{{0xfd, 0x77, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, 0x123456};

ibv_ah* Handle(uintptr_t number) { return reinterpret_cast<ibv_ah*>(number); }

TEST(UdAddress, ComesBackAsItWas) {
  const Address address = ToCore(kPeer);
  ASSERT_TRUE(IsUdAddress(address));
  EXPECT_EQ(FromCore(address).gid, kPeer.gid);
  EXPECT_EQ(FromCore(address).queue_pair, kPeer.queue_pair);
  Address other = address;
  other.size = 16;
  EXPECT_FALSE(IsUdAddress(other)) << "a socket's";
}

using Header = std::array<uint8_t, kGrhBytes>;

// 10.77.0.1 to 10.77.0.2 with the traffic class given, behind 20 bytes of anything.
Header Ipv4Header(uint8_t traffic_class, uint8_t before) {
  Header header;
  header.fill(before);
  const std::array<uint8_t, 20> ip{
      0x45, traffic_class, 0, 80, 0, 0, 0x40, 0, 64, 17, 0, 0, 10, 77, 0, 1, 10, 77, 0, 2};
  std::copy(ip.begin(), ip.end(), header.begin() + 20);
  uint32_t sum = 0;
  for (size_t i = 0; i < ip.size(); i += 2) sum += static_cast<uint32_t>(ip[i] << 8 | ip[i + 1]);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  header[30] = static_cast<uint8_t>(~sum >> 8);
  header[31] = static_cast<uint8_t>(~sum);
  return header;
}

TEST(GlobalRouteHeader, TellsTheSenderAndTheMark) {
  for (const uint8_t before : {0x00, 0x60, 0xff}) {  // 0x60 looks like IPv6
    for (const uint8_t ecn : {0, 1, 2, 3}) {
      const Header header = Ipv4Header(static_cast<uint8_t>(0x68 | ecn), before);
      EXPECT_EQ(ToText(SourceOf(header)), "::ffff:10.77.0.1");
      EXPECT_EQ(IsMarked(header), ecn == 3);
      if (before != 0x60) {  // rxe leaves the checksum out between queue pairs of one host
        Header without = header;
        without[30] = without[31] = 0;
        EXPECT_EQ(SourceOf(without), SourceOf(header));
      }
      Header v6{0x66, static_cast<uint8_t>(0x80 | ecn << 4)};
      std::copy(kPeer.gid.begin(), kPeer.gid.end(), v6.begin() + 8);
      v6[20] = 0x45;  // within the source's bytes, as an IPv4 header would begin
      Gid source = kPeer.gid;
      source[12] = 0x45;
      EXPECT_EQ(SourceOf(v6), source);
      EXPECT_EQ(IsMarked(v6), ecn == 3);
    }
  }
}

struct Ring {
  explicit Ring(size_t slots) : memory(slots * 64), ring(memory, 64, 7) {}
  std::vector<uint8_t> memory;
  SendRing ring;
};

struct Message {
  std::vector<uint8_t> payload;
  TxSlot slot;
};

Message Counting(uint8_t first, uint32_t header, uint32_t payload, uint32_t trailer) {
  Message message;
  std::iota(message.slot.header.begin(), message.slot.header.begin() + header, first);
  message.slot.header_bytes = header;
  message.payload.resize(payload);
  std::iota(message.payload.begin(), message.payload.end(), static_cast<uint8_t>(first + header));
  message.slot.payload = {message.payload.data(), payload, 0};
  std::iota(message.slot.trailer.begin(), message.slot.trailer.begin() + trailer,
            static_cast<uint8_t>(first + header + payload));
  message.slot.trailer_bytes = trailer;
  return message;
}

TEST(SendRing, ChainsWhatWasAddedWithOneCompletion) {
  Ring made(4);
  const std::array<Message, 3> messages{Counting(1, 20, 36, 8), Counting(100, 30, 0, 0),
                                        Counting(200, 12, 9, 8)};
  for (size_t i = 0; i < messages.size(); ++i) {
    made.ring.add(messages[i].slot, Handle(i + 1), static_cast<uint32_t>(10 * i));
  }
  const ibv_send_wr* request = made.ring.take();
  const std::array<uint8_t, 3> first{1, 100, 200};
  const std::array<uint32_t, 3> bytes{64, 30, 29};
  for (size_t i = 0; i < 3; ++i, request = request->next) {
    ASSERT_NE(request, nullptr);
    EXPECT_EQ(request->opcode, IBV_WR_SEND);
    EXPECT_EQ(request->wr_id, i + 1);
    EXPECT_EQ(request->send_flags == IBV_SEND_SIGNALED, i == 2);
    EXPECT_EQ(request->wr.ud.ah, Handle(i + 1));
    EXPECT_EQ(request->wr.ud.remote_qpn, 10 * i);
    EXPECT_EQ(request->wr.ud.remote_qkey, kQueueKey);
    ASSERT_EQ(request->num_sge, 1);
    ASSERT_EQ(request->sg_list->length, bytes[i]);
    EXPECT_EQ(request->sg_list->lkey, 7u);
    const auto* data = reinterpret_cast<const uint8_t*>(request->sg_list->addr);
    EXPECT_GE(data, made.memory.data());
    for (uint32_t b = 0; b < bytes[i]; ++b) {
      ASSERT_EQ(data[b], static_cast<uint8_t>(first[i] + b)) << i << " " << b;
    }
  }
  EXPECT_EQ(request, nullptr);
  EXPECT_EQ(made.ring.take(), nullptr) << "nothing new";
}

TEST(SendRing, NeverTouchesASlotThatIsOnItsWay) {
  Ring made(4);
  uint64_t sent = 0;
  for (int round = 0; round < 50; ++round) {
    const size_t count = 1 + static_cast<size_t>(round) % 3;
    ASSERT_EQ(made.ring.room(), 4 - (made.ring.last() - made.ring.done()));
    if (made.ring.room() < count) {
      made.ring.completed(made.ring.last());
      ASSERT_EQ(made.ring.room(), 4u);
    }
    for (size_t i = 0; i < count; ++i) {
      made.ring.add(Counting(static_cast<uint8_t>(sent++), 16, 0, 0).slot, Handle(1), 1);
    }
    size_t chained = 0;
    for (const auto* r = made.ring.take(); r != nullptr; r = r->next) {
      EXPECT_EQ(*reinterpret_cast<const uint8_t*>(r->sg_list->addr),
                static_cast<uint8_t>(r->wr_id - 1));
      ++chained;
    }
    ASSERT_EQ(chained, count);
  }
  EXPECT_EQ(made.ring.last(), sent);
}

Gid Numbered(uint8_t number) {
  Gid gid{};
  gid[15] = number;
  return gid;
}

TEST(AddressHandles, AreMadeOnceAndForgottenOnlyWhenNoRequestUsesThem) {
  using Outcome = AddressHandles::Outcome;
  std::atomic<uintptr_t> made = 0;
  std::vector<ibv_ah*> released;
  {
    AddressHandles handles(
        [&](const Gid& to, bool) {
          errno = EHOSTUNREACH;
          return to[15] == 13 ? nullptr : Handle(++made);
        },
        [&](ibv_ah* handle) { released.push_back(handle); }, 2);
    EXPECT_EQ(handles.find(Numbered(1), false, 1, 0).outcome, Outcome::kAsked);
    handles.prepare(Numbered(1), 10_s);
    EXPECT_EQ(handles.find(Numbered(1), false, 1, 0).handle, Handle(1));
    EXPECT_EQ(handles.find(Numbered(1), true, 2, 0).handle, Handle(2)) << "another traffic class";
    handles.prepare(Numbered(2), 10_s);
    EXPECT_EQ(handles.find(Numbered(2), false, 3, 0).handle, Handle(3));
    EXPECT_EQ(handles.find(Numbered(3), false, 4, 1).outcome, Outcome::kAllBusy);
    EXPECT_TRUE(released.empty());
    EXPECT_EQ(handles.find(Numbered(3), false, 4, 2).outcome, Outcome::kAsked) << "2 has left";
    EXPECT_EQ(released, (std::vector{Handle(1), Handle(2)}));
    handles.prepare(Numbered(3), 10_s);
    EXPECT_EQ(handles.find(Numbered(3), false, 5, 9).handle, Handle(5));
    EXPECT_EQ(handles.find(Numbered(13), false, 6, 9).outcome, Outcome::kAsked);
    handles.prepare(Numbered(13), 10_s);
    const auto nowhere = handles.find(Numbered(13), false, 6, 9);
    EXPECT_EQ(nowhere.outcome, Outcome::kNoWay);
    EXPECT_EQ(nowhere.error, EHOSTUNREACH);
    EXPECT_EQ(made, 6u);
  }
  EXPECT_EQ(released.size(), 6u) << "each once";
}

// So that established traffic goes on, and strangers cannot push its handles out.
TEST(AddressHandles, NobodyWaitsForOneThatTakesLongToMake) {
  using Outcome = AddressHandles::Outcome;
  std::promise<void> go;
  std::shared_future<void> gone = go.get_future().share();
  std::atomic<uintptr_t> made = 0;
  AddressHandles handles(
      [&](const Gid& to, bool) {
        if (to[15] != 1) gone.wait();
        return Handle(++made);
      },
      [](ibv_ah*) {}, 64);
  handles.prepare(Numbered(1), 10_s);
  for (uint8_t stranger = 2; stranger < 100; ++stranger) {
    EXPECT_EQ(handles.find(Numbered(stranger), false, 1, 1).outcome, Outcome::kAsked);
    EXPECT_EQ(handles.find(Numbered(1), false, 1, 1).handle, Handle(1));
  }
  handles.prepare(Numbered(2), 1_ms);
  EXPECT_EQ(handles.find(Numbered(2), false, 1, 1).outcome, Outcome::kAsked);
  go.set_value();
  handles.prepare(Numbered(2), 10_s);
  EXPECT_EQ(handles.find(Numbered(2), false, 1, 1).outcome, Outcome::kFound);
}

TEST(Failure, NamesTheQueuePairTheStatusAndWhatToCheck) {
  ibv_wc completion{};
  completion.qp_num = 42;
  completion.status = IBV_WC_RETRY_EXC_ERR;
  completion.vendor_err = 0x81;
  const std::string why = Explain("mlx5_0:1", completion);
  for (const char* what :
       {"queue pair 42 of mlx5_0:1", ibv_wc_status_str(completion.status), "0x81", "4791"}) {
    EXPECT_NE(why.find(what), std::string::npos) << why;
  }
}

TEST(RcQueuePairs, SplitAMessageWhollyAndOnLines) {
  for (const uint32_t count : {1u, 2u, 3u, 16u}) {
    for (const uint64_t bytes : {0u, 1u, 127u, 128u, 129u, 384u, 4096u, 1'000'003u}) {
      uint64_t next = 0;
      for (uint32_t i = 0; i < count; ++i) {
        const baselines::RcPart part = baselines::PartOf(bytes, count, i);
        EXPECT_EQ(part.offset, next);
        EXPECT_TRUE(part.offset % 128 == 0 || part.offset == bytes);
        EXPECT_LE(part.bytes, (bytes / count / 128 + 1) * 128) << "even but for a line";
        next += part.bytes;
      }
      EXPECT_EQ(next, bytes) << count;
    }
  }
}

TEST(RcCard, OfAnotherProgramIsRefused) {
  baselines::RcCard card;
  EXPECT_FALSE(card.valid()) << "no queue pair";
  card.queue_pairs = baselines::kRcQueuePairsMax;
  card.mtu = IBV_MTU_4096;
  EXPECT_TRUE(card.valid());
  ++card.queue_pairs;
  EXPECT_FALSE(card.valid());
  card.queue_pairs = 1;
  card.mtu = 4096;
  EXPECT_FALSE(card.valid()) << "bytes where a code belongs";
  card.mtu = IBV_MTU_256;
  card.magic = 0;
  EXPECT_FALSE(card.valid());
}

}  // namespace
}  // namespace farspan::verbs
