// What a seek asks of the kernel, and what that takes from writers.

import Glibc
import SystemPackage
import Testing

@testable import FuseSession
@testable import MountedDisk

@Suite struct WriteBackTests {
  /// Several may be open at once, and each answer is for its question.
  @Test func everyQuestionHasItsNumber() throws {
    let (mine, keeper) = try MessageSocket.pair()
    let questions = KeeperQuestions(KeeperLink(mine))
    var numbers: Set<UInt64> = []
    for place: UInt64 in [10, 20, 10] {
      // It is not done where nobody waits for the answer any more.
      #expect(!questions.writeBack(place, 5) { false })
      guard case .message(let wire, _) = keeper.receive(),
        case .writeBack(let id, place, 5)? = ServerMessage(wire)
      else {
        Issue.record("no question")
        return
      }
      numbers.insert(id)
    }
    #expect(numbers.count == 3)
  }

  // MARK: Errors that writers are owed

  @Test func whatTheKernelHasNoMoreIsToldOnce() {
    let errors = HeldBackErrors()
    #expect(errors.take() == nil)
    errors.add(.noSpace)
    #expect(errors.take() == .noSpace)
    #expect(errors.take() == nil, "told twice")
    errors.add(.noSpace)
    errors.add(.ioError)
    #expect(errors.take() == .ioError)
  }

  /// The kernel told it, or nobody cares any more: it is not for who comes later.
  @Test func whatAWriterWasToldIsForgotten() {
    let errors = HeldBackErrors()
    errors.add(.noSpace)
    errors.forget()
    #expect(errors.take() == nil)
  }
}
