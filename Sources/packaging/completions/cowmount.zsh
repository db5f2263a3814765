#compdef cowmount
# Completion of cowmount for zsh. What can stand where is asked of the command itself (Sources/cowmount/Completion.swift).

local -a lines described
local line kind prefix text
# What is typed, without its quotes; behind the cursor nothing counts.
lines=("${(@f)$(${(Q)words[1]} ---complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
kind=${lines[1]%%$'\t'*}
prefix=${lines[1]#*$'\t'}
for line in "${(@)lines[2,-1]}"; do
  text=${line%%$'\t'*}
  described+=("${text//:/\\:}:${line#*$'\t'}")
done
compset -P "${(b)prefix}"

local result=1
if (( $#described )); then
  local -a suffix
  # Behind a sign the value follows, and in a list perhaps the next option.
  [[ $prefix == (-o*|*,*) || $described == *=:* ]] && suffix=(-S '')
  _describe -V value described "${(@)suffix}" && result=0
fi
case $kind in
files) _files && result=0 ;;
directories) _files -/ && result=0 ;;
esac
return result
