// Fibers that act as the threads of a cluster's blocks (cuda_runtime.h).
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "cuda_runtime.h"

namespace on_host {

namespace {

constexpr size_t kStack = 128 << 10;

[[noreturn]] void fail(const char* what);

struct Block;

struct Thread {
  ucontext_t context;
  Index index;
  Block* block;
  int warp, lane, shuffles;
  bool done;
};

// Lets no thread pass until `expected` threads have arrived.
struct Barrier {
  size_t expected = 0;
  std::vector<Thread*> waiting;
};

struct Warp {
  uint64_t slots[2][32];  // for even and odd shuffles: the next may begin before the last lane has read
  Barrier barrier;
  int gone = 0;
};

struct Block {
  Index index;
  int rank;
  size_t alive;
  std::map<const void*, std::pair<std::unique_ptr<char[]>, size_t>> shared;
  char* dynamic;
  Barrier barrier;
  std::vector<Warp> warps;
};

struct Cluster {
  std::vector<Block> blocks;
  Barrier barrier;                            // of cluster_wait
  std::map<const Thread*, bool> has_arrived;  // between cluster_arrive and cluster_wait
};

Cluster* cluster;
Thread* running;
ucontext_t scheduler;
std::deque<Thread*> ready;
Index size_of_block;
const std::function<void()>* body;

void fail(const char* what) {
  std::fprintf(stderr, "on_host: block %u thread %u: %s\n", running->block->index.x, running->index.x, what);
  std::abort();
}

void pause() { swapcontext(&running->context, &scheduler); }

void release(Barrier& barrier) {
  for (Thread* thread : barrier.waiting) ready.push_back(thread);
  barrier.waiting.clear();
}

void wait(Barrier& barrier) {
  barrier.waiting.push_back(running);
  if (barrier.waiting.size() == barrier.expected) release(barrier);
  pause();
}

void enter() {
  (*body)();
  Thread& self = *running;
  Block& block = *self.block;
  self.done = true;
  ++block.warps[self.warp].gone;
  // A block's barrier does not wait for threads that have left.
  --block.barrier.expected;
  if (!block.barrier.waiting.empty() && block.barrier.waiting.size() == block.barrier.expected) release(block.barrier);
  if (--block.alive == 0) block.shared.clear();
  pause();
}

char* stack_of(size_t i) {
  static std::vector<char*> stacks;
  while (stacks.size() <= i) {
    void* memory = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    stacks.push_back(static_cast<char*>(memory));
  }
  return stacks[i];
}

void run_cluster(int64_t first, int threads, int64_t shared_bytes, int count) {
  Cluster here;
  cluster = &here;
  here.blocks = std::vector<Block>(static_cast<size_t>(count));
  here.barrier.expected = static_cast<size_t>(count) * threads;
  std::vector<std::unique_ptr<Thread>> all;
  for (int b = 0; b < count; ++b) {
    Block& block = here.blocks[b];
    block.index = {static_cast<unsigned>(first + b), 0, 0};
    block.rank = b;
    block.alive = block.barrier.expected = static_cast<size_t>(threads);
    block.warps = std::vector<Warp>((threads + 31) / 32);
    auto& dynamic = block.shared[&block];
    dynamic = {std::make_unique<char[]>(shared_bytes), static_cast<size_t>(shared_bytes)};
    block.dynamic = dynamic.first.get();
    for (int t = 0; t < threads; ++t) {
      all.push_back(std::make_unique<Thread>());
      Thread& thread = *all.back();
      thread.index = {static_cast<unsigned>(t), 0, 0};
      thread.block = &block;
      thread.warp = t / 32;
      thread.lane = t % 32;
      ++block.warps[thread.warp].barrier.expected;
      getcontext(&thread.context);
      thread.context.uc_stack.ss_sp = stack_of(all.size() - 1);
      thread.context.uc_stack.ss_size = kStack;
      thread.context.uc_link = nullptr;
      makecontext(&thread.context, &enter, 0);
      ready.push_back(&thread);
    }
  }
  while (!ready.empty()) {
    running = ready.front();
    ready.pop_front();
    swapcontext(&scheduler, &running->context);
  }
  for (const auto& thread : all) {
    if (thread->done) continue;
    running = thread.get();
    fail("waits at a barrier or a shuffle that others never reach");
  }
  cluster = nullptr;
}

int setting(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoi(value);
}

}  // namespace

const Index& thread_index() { return running->index; }
const Index& block_index() { return running->block->index; }
const Index& block_size() { return size_of_block; }
int lane() { return running->lane; }
void block_barrier() { wait(running->block->barrier); }

void cluster_arrive() { cluster->has_arrived[running] = true; }
void cluster_wait() {
  if (!cluster->has_arrived[running]) fail("cluster_wait() without cluster_arrive()");
  cluster->has_arrived[running] = false;
  wait(cluster->barrier);
}

const void* peer(const void* pointer, int rank) {
  if (rank < 0 || rank >= static_cast<int>(cluster->blocks.size())) fail("no such block in the cluster");
  const char* at = static_cast<const char*>(pointer);
  for (const auto& [key, memory] : running->block->shared) {
    const char* begin = memory.first.get();
    if (at < begin || at >= begin + memory.second) continue;
    auto& of_peer = cluster->blocks[rank].shared;
    const void* same = key == running->block ? &cluster->blocks[rank] : key;
    if (!of_peer.contains(same)) fail("access to a peer's shared memory before it was allocated or after it was freed");
    return of_peer[same].first.get() + (at - begin);
  }
  fail("a peer's address that is not in shared memory");
}

void* shared(const void* key, size_t bytes) {
  auto& memory = running->block->shared[key];
  if (memory.first == nullptr) {
    memory = {std::make_unique<char[]>(bytes), bytes};
    std::memset(memory.first.get(), 0xff, bytes);  // NaN, -1: uninitialised
  }
  return memory.first.get();
}
void* dynamic_shared() { return running->block->dynamic; }

uint64_t shuffle(unsigned mask, uint64_t value, int from) {
  Warp& warp = running->block->warps[running->warp];
  if (mask != 0xffffffffu || warp.barrier.expected != 32 || warp.gone != 0) fail("a shuffle without all 32 lanes");
  const int side = running->shuffles++ % 2;
  warp.slots[side][running->lane] = value;
  wait(warp.barrier);
  return warp.slots[side][from];
}

void run(int64_t blocks, int threads, int64_t shared_bytes, int count, const std::function<void()>& kernel) {
  if (threads > 1024 || shared_bytes > 227 * 1024 || count > 8 || blocks % count != 0 || blocks > INT32_MAX) {
    std::fprintf(stderr, "on_host: %lld blocks of %d threads, clusters of %d, %lld bytes: no GPU can run that\n",
                 static_cast<long long>(blocks), threads, count, static_cast<long long>(shared_bytes));
    std::abort();
  }
  size_of_block = {static_cast<unsigned>(threads), 1, 1};
  body = &kernel;
  for (int64_t first = 0; first < blocks; first += count) run_cluster(first, threads, shared_bytes, count);
}

}  // namespace on_host

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  *value = attribute == cudaDevAttrComputeCapabilityMajor ? on_host::setting("LSSL_ON_HOST_CAPABILITY", 9)
                                                          : on_host::setting("LSSL_ON_HOST_MULTIPROCESSORS", 8);
  return cudaSuccess;
}
