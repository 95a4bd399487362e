// Streams rows as a detector reads them out, and prints scores meanwhile: stream_detector HOST:PORT MODEL
//
// C++17, gRPC 1.51 or later, the stubs that protoc makes of proto/salad/v1. It is plaintext, for loopback; it makes one
// attempt.
#include <grpcpp/grpcpp.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <thread>

#include "salad/v1/anomaly_scoring.grpc.pb.h"

namespace {

constexpr int kRows = 1024, kColumns = 1024, kBand = 32;

using salad::v1::StreamAcquisitionRequest;
using salad::v1::StreamAcquisitionResponse;
using Stream = grpc::ClientReaderWriter<StreamAcquisitionRequest, StreamAcquisitionResponse>;

// CRC-32C (Castagnoli), which the server compares with that of what it received.
class Checksum {
 public:
  Checksum() {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ 0x82f63b78u : value >> 1;
      table_[i] = value;
    }
  }
  void Add(const std::string& bytes) {
    for (unsigned char byte : bytes) value_ = value_ >> 8 ^ table_[(value_ ^ byte) & 0xff];
  }
  uint32_t Value() const { return ~value_; }

 private:
  std::array<uint32_t, 256> table_;
  uint32_t value_ = ~0u;
};

// 32 rows of 12-bit samples, little-endian: noise, in the place of what a detector reads out.
std::string ReadOut(std::mt19937& random) {
  std::string samples;
  samples.reserve(2 * kBand * kColumns);
  for (int i = 0; i < kBand * kColumns; i++) {
    const uint32_t value = 1000 + random() % 2000;
    samples.push_back(static_cast<char>(value & 0xff));
    samples.push_back(static_cast<char>(value >> 8));
  }
  return samples;
}

const char* NameOf(salad::v1::Decision decision) {
  switch (decision) {
    case salad::v1::DECISION_NORMAL:
      return "normal";
    case salad::v1::DECISION_ANOMALOUS:
      return "anomalous";
    case salad::v1::DECISION_INDETERMINATE:
      return "indeterminate";
    default:
      return "unrecognized";
  }
}

// Runs beside the reading of answers. Write waits where the connection is behind; it gives false where the call is over:
// its status says why.
void Send(Stream& stream, const std::string& model) {
  StreamAcquisitionRequest first;
  auto* header = first.mutable_header();
  header->set_acquisition_id("cpp-" + std::to_string(std::chrono::steady_clock::now().time_since_epoch().count()));
  header->mutable_model()->set_name(model);
  header->set_source(salad::v1::SOURCE_ROWS);
  header->mutable_image()->set_rows(kRows);
  header->mutable_image()->set_columns(kColumns);
  header->mutable_image()->set_bits_allocated(16);
  header->mutable_image()->set_bits_stored(12);
  if (!stream.Write(first)) return;
  std::mt19937 random(7);
  Checksum checksum;
  for (int row = 0; row < kRows; row += kBand) {
    StreamAcquisitionRequest band;
    band.mutable_rows()->set_first_row(row);
    band.mutable_rows()->set_samples(ReadOut(random));
    checksum.Add(band.rows().samples());
    if (!stream.Write(band)) return;
  }
  StreamAcquisitionRequest end;
  end.mutable_end()->set_crc32c(checksum.Value());
  if (stream.Write(end)) stream.WritesDone();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: stream_detector HOST:PORT MODEL\n");
    return 2;
  }
  grpc::ChannelArguments settings;
  // Anomaly maps and embeddings are larger than the 4 MiB of gRPC.
  settings.SetMaxReceiveMessageSize(64 << 20);
  // Servers refuse pings that come sooner than every 10 s.
  settings.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  const auto channel = grpc::CreateCustomChannel(argv[1], grpc::InsecureChannelCredentials(), settings);
  const auto stub = salad::v1::AnomalyScoring::NewStub(channel);

  grpc::ClientContext context;
  // Without a deadline a call may wait for ever.
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
  const auto stream = stub->StreamAcquisition(&context);
  std::thread sending([&] { Send(*stream, argv[2]); });
  salad::v1::AcquisitionAggregate aggregate;
  bool complete = false;
  StreamAcquisitionResponse response;
  while (stream->Read(&response)) {
    switch (response.payload_case()) {
      case StreamAcquisitionResponse::kAccepted:
        std::printf("accepted by %s on %s\n", response.accepted().model().name().c_str(),
                    response.accepted().engine().c_str());
        break;
      case StreamAcquisitionResponse::kPatchScores:
        std::printf("%d patch scores\n", response.patch_scores().patches_size());
        break;
      case StreamAcquisitionResponse::kAggregate:
        aggregate = response.aggregate();
        complete = true;
        break;
      default:  // An event of a later contract.
        break;
    }
  }
  // The call is over: a Write that waits comes back.
  sending.join();
  const grpc::Status status = stream->Finish();
  if (!complete) {
    std::fprintf(stderr, "the call failed: %s\n",
                 status.ok() ? "it ended without an aggregate" : status.error_message().c_str());
    return 1;
  }
  std::printf("%s, p = %.4f, %u patches scored\n", NameOf(aggregate.decision()), aggregate.p_value(),
              aggregate.coverage().scored());
  for (const auto& warning : aggregate.warnings()) std::printf("  %s\n", warning.message().c_str());
  return 0;
}
