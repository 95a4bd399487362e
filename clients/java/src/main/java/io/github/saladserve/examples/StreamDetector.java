package io.github.saladserve.examples;

import com.google.protobuf.ByteString;
import io.github.saladserve.v1.AcquisitionAggregate;
import io.github.saladserve.v1.AcquisitionEnd;
import io.github.saladserve.v1.AcquisitionHeader;
import io.github.saladserve.v1.AnomalyScoringGrpc;
import io.github.saladserve.v1.ImageFormat;
import io.github.saladserve.v1.ModelSelector;
import io.github.saladserve.v1.PixelRows;
import io.github.saladserve.v1.Source;
import io.github.saladserve.v1.StreamAcquisitionRequest;
import io.github.saladserve.v1.StreamAcquisitionResponse;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.okhttp.OkHttpChannelBuilder;
import io.grpc.stub.ClientCallStreamObserver;
import io.grpc.stub.ClientResponseObserver;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Locale;
import java.util.Objects;
import java.util.Random;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.zip.CRC32C;

/**
 * Streams rows as a detector reads them out, and prints scores meanwhile: {@code StreamDetector HOST:PORT MODEL}. It is
 * plaintext, for loopback; it makes one attempt.
 */
public final class StreamDetector implements ClientResponseObserver<StreamAcquisitionRequest, StreamAcquisitionResponse> {
  private static final int ROWS = 1024;
  private static final int COLUMNS = 1024;
  private static final int BAND = 32;

  private final String model;
  private final CompletableFuture<AcquisitionAggregate> result = new CompletableFuture<>();
  private final CRC32C checksum = new CRC32C();
  private final Random random = new Random(7);
  private AcquisitionAggregate aggregate;
  private boolean started;
  private int nextRow;

  private StreamDetector(String model) {
    this.model = model;
  }

  public static void main(String[] args) throws InterruptedException {
    if (args.length != 2) {
      System.err.println("usage: StreamDetector HOST:PORT MODEL");
      System.exit(2);
    }
    ManagedChannel channel = OkHttpChannelBuilder.forTarget(args[0]).usePlaintext()
        // Anomaly maps and embeddings are larger than the 4 MiB of gRPC.
        .maxInboundMessageSize(64 << 20)
        // Servers refuse pings that come sooner than every 10 s.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .build();
    StreamDetector detector = new StreamDetector(args[1]);
    // Without a deadline a call may wait for ever.
    AnomalyScoringGrpc.newStub(channel).withDeadlineAfter(60, TimeUnit.SECONDS).streamAcquisition(detector);
    try {
      AcquisitionAggregate aggregate = detector.result.get();
      String decision = aggregate.getDecision().name().replace("DECISION_", "").toLowerCase(Locale.ROOT);
      int scored = aggregate.getCoverage().getScored();
      System.out.printf(Locale.ROOT, "%s, p = %.4f, %d patches scored%n", decision, aggregate.getPValue(), scored);
      aggregate.getWarningsList().forEach(warning -> System.out.println("  " + warning.getMessage()));
    } catch (ExecutionException failed) {
      Status status = Status.fromThrowable(failed.getCause());
      System.err.println("the call failed: " + Objects.requireNonNullElse(status.getDescription(), status.getCode()));
      System.exit(1);
    } finally {
      channel.shutdownNow();
    }
  }

  /** Called whenever the connection takes more: what is written meanwhile is not gathered without bound. */
  @Override
  public void beforeStart(ClientCallStreamObserver<StreamAcquisitionRequest> requests) {
    requests.setOnReadyHandler(() -> {
      if (!started) {
        started = true;
        requests.onNext(StreamAcquisitionRequest.newBuilder().setHeader(header()).build());
      }
      while (requests.isReady() && nextRow < ROWS) {
        requests.onNext(StreamAcquisitionRequest.newBuilder().setRows(readOut()).build());
        if (nextRow == ROWS) {
          AcquisitionEnd end = AcquisitionEnd.newBuilder().setCrc32C((int) checksum.getValue()).build();
          requests.onNext(StreamAcquisitionRequest.newBuilder().setEnd(end).build());
          requests.onCompleted();
        }
      }
    });
  }

  private AcquisitionHeader header() {
    return AcquisitionHeader.newBuilder()
        .setAcquisitionId(UUID.randomUUID().toString())
        .setModel(ModelSelector.newBuilder().setName(model))
        .setImage(ImageFormat.newBuilder().setRows(ROWS).setColumns(COLUMNS).setBitsAllocated(16).setBitsStored(12))
        .setSource(Source.SOURCE_ROWS)
        .build();
  }

  /** 32 rows of 12-bit samples, little-endian: noise, in the place of what a detector reads out. */
  private PixelRows readOut() {
    ByteBuffer samples = ByteBuffer.allocate(2 * BAND * COLUMNS).order(ByteOrder.LITTLE_ENDIAN);
    while (samples.hasRemaining()) {
      samples.putShort((short) (1000 + random.nextInt(2000)));
    }
    checksum.update(samples.array());
    nextRow += BAND;
    return PixelRows.newBuilder().setFirstRow(nextRow - BAND).setSamples(ByteString.copyFrom(samples.array())).build();
  }

  @Override
  public void onNext(StreamAcquisitionResponse response) {
    switch (response.getPayloadCase()) {
      case ACCEPTED:
        var accepted = response.getAccepted();
        System.out.printf("accepted by %s on %s%n", accepted.getModel().getName(), accepted.getEngine());
        break;
      case PATCH_SCORES:
        System.out.printf("%d patch scores%n", response.getPatchScores().getPatchesCount());
        break;
      case AGGREGATE:
        aggregate = response.getAggregate();
        break;
      default: // An event of a later contract.
    }
  }

  @Override
  public void onError(Throwable failure) {
    result.completeExceptionally(failure);
  }

  @Override
  public void onCompleted() {
    if (aggregate == null) {
      result.completeExceptionally(new IllegalStateException("the call ended without an aggregate"));
    } else {
      result.complete(aggregate);
    }
  }
}
