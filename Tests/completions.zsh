#!/bin/zsh -f
# Completion of cowmount in the shells themselves: completions.zsh BINARY. bash and zsh run on a terminal of their own, where
# Tab is typed and the line is looked at; fish is asked what it would show. A shell that is not here is left out, and named.

emulate -R zsh
zmodload zsh/zpty zsh/zselect

binary=${1:A}
scripts=${0:A:h}/../Sources/packaging/completions
room=$(mktemp -d)
trap 'rm -rf $room' EXIT
mkdir $room/bin $room/files $room/files/overlays
ln -s $binary $room/bin/cowmount
touch "$room/files/disk one.img"
print content >$room/files/vm.img
cd $room/files
export PATH=$room/bin:$PATH HOME=$room LC_ALL=C.UTF-8
unset ZDOTDIR

# Line up to the cursor, and what Tab makes of it.
cases=(
  'cowmount --format q'                   'cowmount --format qcow2 '
  'cowmount --format=q'                   'cowmount --format=qcow2 '
  'cowmount --detect-zeroes of'           'cowmount --detect-zeroes off '
  'cowmount --block'                      'cowmount --block-size '
  'cowmount mount --block'                'cowmount mount --block-size '
  'cowmount disk'                         'cowmount disk\ one.img '
  'cowmount --block-size 64k disk'        'cowmount --block-size 64k disk\ one.img '
  'cowmount vm.img over'                  'cowmount vm.img overlays/'
  'cowmount parti'                        'cowmount partitions '
  'cowmount partitions v'                 'cowmount partitions vm.img '
  'cowmount partitions --js'              'cowmount partitions --json '
  'cowmount --overlay-dir ov'             'cowmount --overlay-dir overlays/'
  'cowmount --overlay-dir=ov'             'cowmount --overlay-dir=overlays/'
  'cowmount -o ro,allow_ot'               'cowmount -o ro,allow_other'
  'cowmount -o ro,forma'                  'cowmount -o ro,format='
  'cowmount -o memory,format=q'           'cowmount -o memory,format=qcow2'
  'cowmount overlays [ nbd'               'cowmount overlays [ nbdkit '
)

# Commands for mounts that stand get those, where this user can mount.
if [[ $($binary ---complete unm) == *unmount* ]] && $binary --memory vm.img overlays 2>/dev/null; then
  trap "umount $room/files/overlays; rm -rf $room" EXIT
  cases+=("cowmount unmount $room/files/o" "cowmount unmount $room/files/overlays ")
fi

# Types a line and Tab into the shell of that name, and has it print what the line is then.
on_terminal() {
  local shell=$1 seen= chunk
  zpty -w -n $shell $'\x15'$2$'\t\x18p'
  repeat 400; do
    while zpty -r -t $shell chunk; do seen+=$chunk; done
    if [[ $seen == *'@@<'*'>@@'* ]]; then
      seen=${seen##*'@@<'}
      REPLY=${seen%%'>@@'*}
      return
    fi
    zselect -t 5
  done
  REPLY="no answer: ${(V)seen}"
}

start_bash() {
  zpty bash 'env INPUTRC=/dev/null TERM=dumb bash --norc --noprofile -i'
  zpty -w bash "source $scripts/cowmount.bash; bind 'set bell-style none'; bind 'set enable-bracketed-paste off'"
  zpty -w bash $'bind -x \'"\\C-xp": printf "@""@<%s>@@\\n" "$READLINE_LINE"\''
}

start_zsh() {
  cp $scripts/cowmount.zsh $room/bin/_cowmount
  zpty zsh 'env TERM=dumb zsh -f -i'
  zpty -w zsh "fpath=($room/bin \$fpath); autoload -U compinit; compinit -u -D; unsetopt beep; unsetopt auto_remove_slash"
  zpty -w zsh $'tell() { print -r -- "@""@<$BUFFER>@@" }; zle -N tell; bindkey -e; bindkey "^Xp" tell'
}

start_fish() { cp $scripts/cowmount.fish $room/bin/cowmount.fish }

# The candidates that begin with what is typed, put in its place.
in_fish() {
  local answer=$(fish --no-config -c 'source $argv[1]; complete -C $argv[2]' $room/bin/cowmount.fish $2 2>&1)
  answer=${answer%%$'\t'*}
  REPLY="${2% *} $answer"
}

failures=0
for shell in bash zsh fish; do
  if ! command -v $shell >/dev/null; then
    print "completions: no $shell here, left out"
    continue
  fi
  start_$shell
  for line expected in $cases; do
    if [[ $shell == fish ]]; then
      in_fish $shell $line
      # fish adds the blank behind a word, and quotes, when a candidate is taken.
      expected=${${expected% }//\\/}
    else
      on_terminal $shell $line
    fi
    if [[ $REPLY != $expected ]]; then
      print -r "completions: $shell: '$line' became '$REPLY', not '$expected'"
      (( failures++ ))
    fi
  done
  print "completions: $shell: $(( $#cases / 2 )) lines"
done
(( failures == 0 ))
