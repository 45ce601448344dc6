// An endpoint around Span: all goes through, but for what a derived class does otherwise.
#pragma once

#include <memory>
#include <utility>

#include "transports/core/span.h"

namespace farspan::transport {

class WrappedSpan : public Endpoint {
 public:
  explicit WrappedSpan(std::unique_ptr<Span> span) : span_(std::move(span)) {}
  const Span& span() const { return *span_; }

  void on_datagrams(TimeNs now, std::span<const RxView> received) override {
    span_->on_datagrams(now, received);
  }
  size_t poll_transmit(TimeNs now, TimeNs horizon, std::span<TxSlot> slots) override {
    return span_->poll_transmit(now, horizon, slots);
  }
  void on_sent(TimeNs now, std::span<const Sent> sent) override { span_->on_sent(now, sent); }
  void on_timeout(TimeNs now) override { span_->on_timeout(now); }
  void on_trouble(TimeNs now, const Trouble& trouble) override { span_->on_trouble(now, trouble); }
  TimeNs next_deadline() const override { return span_->next_deadline(); }
  std::optional<Event> poll_event() override { return span_->poll_event(); }

  Result<ListenId> listen(uint64_t& token) override { return span_->listen(token); }
  void stop_listening(TimeNs now, ListenId listener) override {
    span_->stop_listening(now, listener);
  }
  std::optional<CommId> accept(ListenId listener) override { return span_->accept(listener); }
  Result<CommId> connect(TimeNs now, uint64_t token, std::span<const Route> routes) override {
    return span_->connect(now, token, routes);
  }
  CommState state(CommId comm) const override { return span_->state(comm); }
  std::string_view failure(CommId comm) const override { return span_->failure(comm); }
  void close(TimeNs now, CommId comm) override { span_->close(now, comm); }
  bool all_told() const override { return span_->all_told(); }
  std::optional<RequestId> post_send(TimeNs now, CommId comm, const Buffer& buffer,
                                     uint32_t tag) override {
    return span_->post_send(now, comm, buffer, tag);
  }
  std::optional<RequestId> post_recv(TimeNs now, CommId comm, const Buffer& buffer,
                                     uint32_t tag) override {
    return span_->post_recv(now, comm, buffer, tag);
  }
  Completion test(RequestId request) override { return span_->test(request); }

 protected:
  std::unique_ptr<Span> span_;
};

}  // namespace farspan::transport
