// Switching between stacks. On x86-64 by hand, since ucontext asks the kernel to save signals at every switch, which
// would be most of a test's time; elsewhere by ucontext.
#ifndef CUDA_HOST_FIBER_H_
#define CUDA_HOST_FIBER_H_

#include <cstddef>
#include <cstdint>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif

namespace cuda_host {

#if defined(__x86_64__)

class Context {
 public:
  // The next switch to it calls `entry`, which must not return.
  void Prepare(char* stack, size_t bytes, void (*entry)()) {
    auto* top = reinterpret_cast<uint64_t*>((reinterpret_cast<uintptr_t>(stack) + bytes) & ~uintptr_t{15});
    *--top = 0;  // where a return address would be
    *--top = reinterpret_cast<uint64_t>(entry);
    for (int saved = 0; saved < 6; ++saved) *--top = 0;
    stack_ = top;
  }
  static void Switch(Context* from, const Context& to) { SwitchStacks(&from->stack_, to.stack_); }

 private:
  // Saves what the calling convention lets a callee keep, changes the stack, restores.
  __attribute__((naked, noinline)) static void SwitchStacks(void**, void*) {
    asm("pushq %rbp\n pushq %rbx\n pushq %r12\n pushq %r13\n pushq %r14\n pushq %r15\n"
        "movq %rsp, (%rdi)\n movq %rsi, %rsp\n"
        "popq %r15\n popq %r14\n popq %r13\n popq %r12\n popq %rbx\n popq %rbp\n ret\n");
  }

  void* stack_ = nullptr;
};

#else

class Context {
 public:
  void Prepare(char* stack, size_t bytes, void (*entry)()) {
    getcontext(&context_);
    context_.uc_stack.ss_sp = stack;
    context_.uc_stack.ss_size = bytes;
    context_.uc_link = nullptr;
    makecontext(&context_, entry, 0);
  }
  static void Switch(Context* from, const Context& to) { swapcontext(&from->context_, &to.context_); }

 private:
  ucontext_t context_;
};

#endif

}  // namespace cuda_host

#endif  // CUDA_HOST_FIBER_H_
