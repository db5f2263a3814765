// Names are bytes: what is no UTF-8 can be image, mountpoint, overlay directory and name all the same.

import Glibc
import Testing

extension Mounted {
  @Suite struct ByteNames {
    @Test(.needs(.program("xz"))) func everywhere() async throws {
      let image = try sandbox.image(size: 130_000)
      let script = #"""
        place=$(printf '%s/m\344nt' "$2"); overlays=$(printf '%s/\377' "$2"); image=$(printf '%s/b\366se.img' "$2")
        mkdir "$place" "$overlays"
        cp "$3" "$image"
        "$1" --overlay-dir "$overlays" "$image" "$place"
        test "$(ls "$place")" = "$(printf 'b\366se.img')"
        cmp "$place/$(printf 'b\366se.img')" "$image"
        printf x | dd of="$place/$(printf 'b\366se.img')" conv=notrunc 2>/dev/null
        # What stands in the mount table is what it is.
        grep -q "$(printf 'b\366se.img')" /proc/self/mountinfo
        fusermount3 -u "$place"
        cmp "$3" "$image"
        "$1" --memory --name "$(printf '\200.raw')" "$image" "$place"
        test "$(ls "$place")" = "$(printf '\200.raw')"
        fusermount3 -u "$place"
        xz "$image"
        "$1" --memory "$image.xz" "$place"
        cmp "$place/$(printf 'b\366se.img')" "$3"
        fusermount3 -u "$place"
        "$1" --memory "$3" "$(printf '%s/nosuch\374' "$2")" 2>&1 | tr -d '\n' | LC_ALL=C grep -c 'does not exist'
        """#
      let home = try sandbox.directory("home")
      let result = try await attempt(
        "sh", ["-euc", script, "sh", Host.cowmount, home, image.path], variables: ["LC_ALL": "C"])
      #expect(result.succeeded, "\(result)")
    }
  }
}
