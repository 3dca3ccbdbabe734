#include "reload.h"

#include <csignal>
#include <utility>

#include "base/log.h"

namespace millrace::app {

namespace {

void Mask(int how) {
  sigset_t signals;
  ::sigemptyset(&signals);
  ::sigaddset(&signals, SIGHUP);
  ::pthread_sigmask(how, &signals, nullptr);
}

}  // namespace

void Reload::Defer() { Mask(SIG_BLOCK); }

Reload::Reload(LoadPlan load) : load_(std::move(load)) {
  signals_.add(SIGHUP);
  WaitForSignal();
  thread_ = std::thread([this] {
    Mask(SIG_UNBLOCK);
    context_.run();
  });
}

Reload::~Reload() {
  context_.stop();
  thread_.join();
}

void Reload::WaitForSignal() {
  signals_.async_wait([this](const boost::system::error_code& error, int) {
    if (error) return;
    LoadNext();
    WaitForSignal();
  });
}

void Reload::LoadNext() {
  spdlog::info("signal {}: reading the file again", SIGHUP);
  auto plan = load_();
  if (plan == nullptr) return spdlog::error("reload: the file as it is now cannot run; what runs goes on");
  const std::scoped_lock lock(mutex_);
  next_ = std::move(plan);
  if (running_ != nullptr) running_->MakeRoom();
}

void Reload::Watch(Service& service) {
  const std::scoped_lock lock(mutex_);
  running_ = &service;
  if (next_ != nullptr) service.MakeRoom();
}

std::shared_ptr<const pipeline::Plan> Reload::TakeNext() {
  const std::scoped_lock lock(mutex_);
  const bool interrupted = std::exchange(running_, nullptr)->interrupted();
  return interrupted ? nullptr : std::exchange(next_, nullptr);
}

}  // namespace millrace::app
