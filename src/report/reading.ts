/** What a page says of its pictures, in a few lines; docs/how-to/read-the-map.md says more. */
export const HOW_TO_READ = `<details><summary>How to read the pictures</summary>
<p>Colour marks places that look unlike the same place in normal images. It begins at the threshold that decides the whole
image (cyan line) and gets lighter the higher robust z is; what stays grey is below the threshold. Inside the dotted line
patches count for the score; outside nothing is judged.</p>
<p>Robust z is the distance of a patch to normal patches, in spreads of normal images at that place. Normal images have
coloured places too: under each colour bar stands which share of patches of normal images reaches a value. An image has
many patches, so a single coloured place is no finding; only the decision on the whole image keeps a
false-positive rate. What is not coloured is not thereby normal.</p></details>`;
