# Completion of cowmount for bash. What can stand where is asked of the command itself (Sources/cowmount/Completion.swift).

_cowmount() {
  # bash takes `--format=q` for three words. Those are one, and what bash completes is the end of it.
  local word words=() glued=
  for word in "${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ ${#words[@]} -gt 0 && ($glued || $word == [=:]) ]]; then words[-1]+=$word; else words+=("$word"); fi
    if [[ $word == [=:] ]]; then glued=1; else glued=; fi
  done
  local current=${COMP_WORDS[COMP_CWORD]}
  if [[ $current == [=:] ]]; then current=; fi
  local cut=$((${#words[-1]} - ${#current}))

  local kind= prefix= text help
  COMPREPLY=()
  while IFS=$'\t' read -r text help; do
    if [[ ! $kind ]]; then
      kind=$text prefix=$help
      continue
    fi
    text=$prefix$text
    COMPREPLY+=("${text:cut}")
  done < <("$1" ---complete "${words[@]}" 2>/dev/null)

  case $kind in
  # Quoted here, since readline would put a slash behind a directory.
  paths) for text in "${!COMPREPLY[@]}"; do printf -v "COMPREPLY[text]" %q "${COMPREPLY[text]}"; done ;;
  directories) compopt -o dirnames ;;
  files)
    # Left to readline where nothing else fits, since it quotes best.
    if [[ ${#COMPREPLY[@]} == 0 ]]; then
      compopt -o default
    else
      compopt -o filenames
      while IFS= read -r text; do COMPREPLY+=("$text"); done < <(compgen -f -- "$current")
    fi
    ;;
  words) if [[ ${COMPREPLY[*]} == *= || $prefix == *,* ]]; then compopt -o nospace; fi ;;
  esac
}

complete -F _cowmount cowmount
