// Devices that publish over MQTT 3.1.1 with QoS 1, and how long each waits for its PUBACK:
//
//   mqtt_load PORT CONNECTIONS SECONDS
//
// At most 1,000 messages are unacknowledged at a time, at most 100 of one connection: of 10,000 connections each waits
// for its turn, as a fleet does. One thread with epoll, and packets that are made beforehand, so that the gateway is
// slower. Prints a line of JSON once all is acknowledged; whatever else the gateway says ends it with status 1.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "mqtt/packet.h"

namespace millrace::mqtt {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kInFlightMax = 1000;
constexpr std::size_t kWindowMax = 100;  // The gateway's Receive Maximum.
constexpr std::string_view kPayload =
    R"({"ts":"2026-11-29T10:00:00.000Z","model":"t-100","site":"berlin-7","seq":123456,"temperature_c":21.53,)"
    R"("humidity_pct":48.2,"battery_pct":87.5,"rssi_dbm":-67,"firmware":"2.4.1"})";

struct Device {
  int fd = -1;
  std::string publish;                  // Its packet id is written into each.
  std::string output;                   // Not yet written.
  std::string input;                    // An acknowledgement that has begun.
  std::vector<Clock::time_point> sent;  // By packet id, from 1 on.
};

struct Turn {
  std::size_t device = 0;
  std::uint16_t id = 0;
};

Status Failed(const char* what) { return Transient("{}: {}", what, std::strerror(errno)); }

Status WriteAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    if (count <= 0) return Failed("writing");
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return Status::OK();
}

Result<Device> Connected(std::uint16_t port, std::size_t number, std::size_t window) {
  Device device{.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (device.fd < 0 || ::connect(device.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Failed("connecting");
  }
  const int yes = 1;
  ::setsockopt(device.fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
  const std::string name = "d" + std::to_string(number);
  std::string bytes;
  RETURN_NOT_OK(AppendPacket(Connect{.version = Version::k311, .client_id = name}, Version::k311, bytes));
  RETURN_NOT_OK(WriteAll(device.fd, bytes));
  char answer[4];
  if (::recv(device.fd, answer, sizeof(answer), MSG_WAITALL) != sizeof(answer) || answer[3] != 0) {
    return Failed("no CONNACK");
  }
  const Publish publish{
      .topic = "site/berlin-7/dev/" + name, .payload = std::string(kPayload), .qos = 1, .packet_id = 1};
  RETURN_NOT_OK(AppendPacket(publish, Version::k311, device.publish));
  device.sent.resize(window + 1);
  return device;
}

class Load {
 public:
  Load(std::uint16_t port, std::size_t connections) : port_(port), num_devices_(connections) {}

  Status Connect() {
    const std::size_t window = std::clamp<std::size_t>(kInFlightMax / num_devices_, 1, kWindowMax);
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    for (std::size_t i = 0; i < num_devices_; ++i) {
      ASSIGN_OR_RETURN(Device device, Connected(port_, i, window));
      epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
      if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, device.fd, &event) != 0) return Failed("epoll");
      devices_.push_back(std::move(device));
    }
    for (std::size_t id = 1; id <= window; ++id) {
      for (std::size_t i = 0; i < num_devices_; ++i) turns_.push_back({i, static_cast<std::uint16_t>(id)});
    }
    return Status::OK();
  }

  Status Run(std::chrono::duration<double> duration) {
    const auto begun = Clock::now();
    until_ = begun + std::chrono::duration_cast<Clock::duration>(duration);
    RETURN_NOT_OK(SendMore());
    std::vector<epoll_event> events(1024);
    while (in_flight_ > 0) {
      const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 30'000);
      if (count <= 0) return Transient("no PUBACK for 30 s, {} are missing", in_flight_);
      for (int i = 0; i < count; ++i) RETURN_NOT_OK(Take(events[static_cast<std::size_t>(i)].data.u64));
      RETURN_NOT_OK(SendMore());
    }
    seconds_ = std::chrono::duration<double>(Clock::now() - begun).count();
    return Status::OK();
  }

  void Print() {
    std::sort(waits_ms_.begin(), waits_ms_.end());
    std::printf("{\"messages\": %zu, \"seconds\": %.3f, \"p50_ms\": %.2f, \"p99_ms\": %.2f}\n", waits_ms_.size(),
                seconds_, waits_ms_[waits_ms_.size() / 2], waits_ms_[waits_ms_.size() * 99 / 100]);
  }

 private:
  // Each PUBACK of 3.1.1 has four bytes.
  Status Take(std::size_t index) {
    Device& device = devices_[index];
    char bytes[4096];
    const ssize_t count = ::recv(device.fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (count <= 0) return Failed("the gateway has closed a connection");
    device.input.append(bytes, static_cast<std::size_t>(count));
    const auto now = Clock::now();
    std::size_t at = 0;
    for (; at + 4 <= device.input.size(); at += 4) {
      const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(device.input[at + i]); };
      const auto id = static_cast<std::uint16_t>(byte(2) << 8 | byte(3));
      if (byte(0) != 0x40 || byte(1) != 2 || id == 0 || id >= device.sent.size()) {
        return Transient("the gateway sends what is no PUBACK");
      }
      waits_ms_.push_back(std::chrono::duration<float, std::milli>(now - device.sent[id]).count());
      --in_flight_;
      turns_.push_back({index, id});
    }
    device.input.erase(0, at);
    return Status::OK();
  }

  Status SendMore() {
    const auto now = Clock::now();
    std::vector<std::size_t> with_output;
    for (; now < until_ && in_flight_ < kInFlightMax && !turns_.empty(); turns_.pop_front(), ++in_flight_) {
      const auto [index, id] = turns_.front();
      Device& device = devices_[index];
      if (device.output.empty()) with_output.push_back(index);
      char* const place = device.publish.data() + device.publish.size() - kPayload.size() - 2;
      place[0] = static_cast<char>(id >> 8);
      place[1] = static_cast<char>(id & 0xFF);
      device.output += device.publish;
      device.sent[id] = now;
    }
    for (const std::size_t index : with_output) {
      RETURN_NOT_OK(WriteAll(devices_[index].fd, devices_[index].output));
      devices_[index].output.clear();
    }
    return Status::OK();
  }

  const std::uint16_t port_;
  const std::size_t num_devices_;
  int epoll_ = -1;
  std::vector<Device> devices_;
  std::deque<Turn> turns_;  // Of who waits to send.
  std::size_t in_flight_ = 0;
  Clock::time_point until_;
  double seconds_ = 0;
  std::vector<float> waits_ms_;
};

int Main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: mqtt_load PORT CONNECTIONS SECONDS\n");
    return 2;
  }
  Load load(static_cast<std::uint16_t>(std::atoi(argv[1])), static_cast<std::size_t>(std::max(1, std::atoi(argv[2]))));
  Status done = load.Connect();
  if (done.ok()) done = load.Run(std::chrono::duration<double>(std::atof(argv[3])));
  if (!done.ok()) {
    std::fprintf(stderr, "mqtt_load: %s\n", done.message().c_str());
    return 1;
  }
  load.Print();
  return 0;
}

}  // namespace
}  // namespace millrace::mqtt

int main(int argc, char** argv) { return millrace::mqtt::Main(argc, argv); }
